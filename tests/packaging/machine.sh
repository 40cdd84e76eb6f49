# A bookworm of its own in a folder, booted with systemd in a container. Sourced by `installed`; wants $work.

chroot=$work/machine
nspawn_pid=
failures=0
say() { printf '\n== %s (%ds)\n' "$*" "$SECONDS"; }
figure() { printf 'figure: %s\n' "$*"; }
skip() { echo "skipped: $*"; exit 77; }
check() {  # check WHAT COMMAND…: COMMAND must succeed; its output is in $work/check.log, that of the one before in last.log
  local what=$1; shift
  [ ! -e "$work/check.log" ] || mv "$work/check.log" "$work/last.log"
  if "$@" >"$work/check.log" 2>&1; then echo "ok: $what"; else
    echo "FAILED: $what: $*"; sed 's/^/    /' "$work/check.log" | tail -n 30; failures=$((failures + 1))
  fi
}
refused() { ! "$@"; }
wait_until() {  # wait_until SECONDS COMMAND…
  local end=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do [ $SECONDS -lt $end ] || return 1; sleep 0.2; done
}
milliseconds() { echo $(($(date +%s%N) / 1000000)); }
median() { sort -n | sed -n "$((($1 + 1) / 2))p"; }

in_chroot() { env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 chroot "$chroot" "$@"; }
init_pid() { pgrep -P "$nspawn_pid"; }
inside() {  # in the booted machine
  nsenter -t "$(init_pid)" --mount --uts --ipc --net --pid --cgroup env -i \
    PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"
}
boot() {
  # The container gets a pure cgroup v2 whatever the host has, and the host's network: everything listens on loopback.
  # nspawn's own filter knows no landlock, and without CAP_IPC_LOCK no mlock; a machine has no such filter.
  SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn -D "$chroot" --boot --register=no --keep-unit --console=pipe \
    --system-call-filter="landlock_create_ruleset landlock_add_rule landlock_restrict_self @memlock" \
    --machine="cosigner-test-$$" </dev/null >"$work/boot.log" 2>&1 &
  nspawn_pid=$!
  local i
  for ((i = 0; i < 600; i++)); do
    init_pid >/dev/null || { sleep 0.1; kill -0 "$nspawn_pid" 2>/dev/null || return 1; continue; }
    case $(inside systemctl is-system-running 2>/dev/null) in running | degraded) return 0 ;; esac
    sleep 0.1
  done
  return 1
}
halt() {
  inside systemctl poweroff >/dev/null 2>&1 || true
  wait "$nspawn_pid" || true
  nspawn_pid=
}
clean() {
  if [ -n "$nspawn_pid" ] && kill -0 "$nspawn_pid" 2>/dev/null; then
    kill -KILL "$(init_pid)" 2>/dev/null || true
    wait "$nspawn_pid" 2>/dev/null || true
  fi
  # shellcheck disable=SC2046 # ids
  kill $(jobs -p) 2>/dev/null || true
  if [ -n "${making:-}" ]; then kill -- "-$making" 2>/dev/null || true; fi  # the package's build, all of it
  if mountpoint -q "$chroot"; then umount --recursive "$chroot" || umount --recursive --lazy "$chroot"; fi
  rm -rf "$work" || true
}
trap clean EXIT

machine_packages=(systemd systemd-sysv dbus nats-server)
bare_bookworm() {
  mkdir -p "$chroot"
  # Installing asks for its files to be on disk all the time, and this machine lives for minutes: in memory, where there is plenty.
  if [ "$(awk '/^MemAvailable/ { print int($2 / 1048576) }' /proc/meminfo)" -ge 6 ] &&
    mount -t tmpfs -o size=3g,mode=755 cosigner-test "$chroot" 2>/dev/null; then
    # But for systemd's own state: it keeps no key for credentials in memory (and would encrypt them with none).
    mkdir -p "$work/systemd" "$chroot/var/lib/systemd"
    mount --bind "$work/systemd" "$chroot/var/lib/systemd"
  fi
  if [ -n "${COSIGNER_CHROOT_BASE:-}" ]; then
    cp -a "$COSIGNER_CHROOT_BASE/." "$chroot"
  else
    debootstrap --variant=minbase --include="$(IFS=,; echo "${machine_packages[*]}")" bookworm "$chroot" >"$work/debootstrap.log" 2>&1 ||
      { tail -n 5 "$work/debootstrap.log"; skip "debootstrap cannot reach a Debian mirror"; }
  fi
  echo force-unsafe-io >"$chroot/etc/dpkg/dpkg.cfg.d/test"  # it lives for minutes: no fsync for each file
  cp -L /etc/resolv.conf "$chroot/etc/resolv.conf"
  in_chroot apt-get update -qq >"$work/apt.log" 2>&1 || { tail -n 5 "$work/apt.log"; skip "apt cannot reach a Debian mirror"; }
}
repack() {  # repack DEB VERSION: the same package under another version, in the machine's /root
  rm -rf "$work/repack"
  dpkg-deb -R "$1" "$work/repack"
  sed -i "s/^Version: .*/Version: $2/" "$work/repack/DEBIAN/control"
  sed -i "s/^version='.*'/version='$2'/" "$work/repack/DEBIAN/preinst" "$work/repack/DEBIAN/postrm"
  # As when a default was added.
  echo "# $2" >>"$work/repack/usr/share/doc/cosigner/examples/cosigner.toml"
  dpkg-deb -Znone --root-owner-group -b "$work/repack" "$chroot/root/cosigner_$2.deb" >/dev/null
  rm -rf "$work/repack"
}
mode_is() { [ "$(in_chroot stat -c '%a %U %G' "$2")" = "$1" ]; }
installed_version_is() {
  [ "$(in_chroot dpkg-query -W -f '${db:Status-Status} ${Version}' cosigner)" = "installed $1" ]
}
main_pid() { inside systemctl show -p MainPID --value "$1"; }
private_kib() { inside awk '/^Private_/ { sum += $2 } END { print sum }' "/proc/$1/smaps_rollup"; }
