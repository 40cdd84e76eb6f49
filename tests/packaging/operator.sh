# The way of README.md on this machine: init, cards, bundle, units, a key, a signature; what its operator then looks at; an
# upgrade, and the end. Sourced by `installed`; leaves the machine without the package. Node a is the packaged unit with its
# nats-servers; b plays another machine, in a directory of its own and without a unit of ours.

say "the operator's way"
check "install" inside apt-get install -y --no-install-recommends "/root/cosigner_$version.deb"
inside systemctl disable --now nats-server >/dev/null 2>&1
inside useradd -m -G cosigner-admin ops
inside useradd -m passer-by
check "init --first" inside cosignerctl init --first --cluster main --node a --hub 127.0.0.1 --recovery-file /root/recovery.txt
check "init --join" inside cosignerctl init --join --cluster main --node b --dir /root/b
check "the card of b, on a" inside cosignerctl peers import --yes /root/b/node.card
check "the bundle, on b" inside cosignerctl peers import --yes --dir /root/b /etc/cosigner/cluster.bundle
check "the units" inside systemctl enable --now cosigner-nats@hub cosigner-nats@leaf cosigner
check "node b" inside systemd-run --quiet --unit=node-b --property=Type=notify cosignerd --config /root/b/cosigner.toml
a() { inside cosignerctl "$@"; }
value() { node -pe "const o = JSON.parse(require('fs').readFileSync(0)); $1" | grep -qx true; }  # value EXPRESSION: of o
met() { a status --json | value 'o.degraded.length === 0 && o.peers.every(peer => peer.present)'; }
check "they meet" wait_until 30 met
operator() { inside env COSIGNER_INITIATOR=/etc/cosigner/operator.key cosignerctl "$@"; }
for scheme in ed25519 ecdsa-secp256k1; do
  check "a key: $scheme" operator keygen --user alice --key "$scheme" --scheme "$scheme" --threshold 2
done
sign_here() { operator sign --user alice --key ed25519 --message-hex "$1" --json; }
check "a signature" sign_here 00
check "also by an operator's own copy of the key" inside sh -ec 'install -o ops -m 0600 /etc/cosigner/operator.key ~ops/
  runuser -u ops -- cosignerctl --initiator ~ops/operator.key sign --user alice --key ed25519 --message-hex 01'

say "what the operator sees"
seen() { inside cosignerctl user alice --json | tee "$work/user" | value "$1" || { cat "$work/user"; return 1; }; }
landlock=$(inside perl -e 'my $v = syscall(444, 0, 0, 1); print $v < 0 ? 0 : $v')
check "no wall is missing" seen 'o.sandbox.missing.length === 0'
check "each wall was read" seen 'o.sandbox.no_new_privs && o.sandbox.seccomp_mode === 2 && o.sandbox.limits.core_bytes === 0'
check "landlock is the kernel's ($landlock)" seen "o.sandbox.landlock_said === $landlock"
check "the share is in locked memory" seen 'o.sandbox.locked_bytes > 0'
check "memory is measured" seen 'o.memory_bytes > 100000'
check "processor time is measured" seen 'o.processor_ms !== null'
if inside grep -qw memory /sys/fs/cgroup/cgroup.controllers; then
  check "the worker is in a cgroup of its own" seen '/worker-[0-9]+$/.test(o.sandbox.cgroup)'
else
  echo "skipped: cgroups of workers (this machine's version 2 hierarchy has no memory controller)"
fi
resident() { a metrics | grep -E "^cosigner_process_resident_memory_bytes\{role=\"$1\"\} [1-9]"; }
for role in supervisor gateway workers; do check "metrics: memory of $role" resident "$role"; done
check "memory limits can be watched" refused inside sh -c "journalctl -q -u cosigner | grep 'for want of memory'"
# The machine's own clock and limits are not the package's.
doctor() {
  a doctor --json | tee "$work/doctor" |
    value 'o.ok && o.checks.every(c => c.verdict === "ok" || ["clock", "descriptors", "landlock"].includes(c.check))' ||
    { cat "$work/doctor"; return 1; }
}
check "doctor finds no fault" doctor
doctor_landlock() { value "o.checks.some(c => c.check === 'landlock' && !/refused|not in this/.test(c.detail))" <"$work/doctor"; }
[ "$landlock" = 0 ] || check "doctor sees landlock" doctor_landlock
check "the configuration is good" a config check
check "also for an operator who may not look at key files" inside runuser -u ops -- cosignerctl config check
check "who is told so" grep -q 'cannot tell as this user' "$work/last.log" "$work/check.log"
check "doctor by an operator" inside runuser -u ops -- cosignerctl doctor

say "drain"
check "drain" a drain
down() { [ "$(inside systemctl is-active cosigner)" = inactive ]; }
check "the node ends" wait_until 20 down
check "nobody is heard" refused inside runuser -u passer-by -- cosignerctl status
check "and it stays down" down
check "start" inside systemctl start cosigner
check "it signs" wait_until 30 sign_here 02

say "an upgrade with a new default"
sum_configuration() { inside sh -c 'cd /etc/cosigner && sha256sum *.toml broker/*'; }
sum_configuration >"$work/configuration"
check "nobody is asked about a file of the operator's" inside apt-get install -y "/root/cosigner_$version+next.deb"
check "the new version is installed" installed_version_is "$version+next"
check "it is whole" inside dpkg --audit
sum_configuration >"$work/configuration.after"
check "the configuration is as it was" cmp "$work/configuration" "$work/configuration.after"
check "the example is the new one" inside grep -qx "# $version+next" /usr/share/doc/cosigner/examples/cosigner.toml
check "it signs" wait_until 30 sign_here 03

say "the end of a node"
inside systemctl stop node-b
check "remove" inside apt-get remove -y cosigner
no_server() { ! inside pgrep -f '^/usr/sbin/nats-server --config /etc/cosigner'; }
check "no nats-server of the cluster runs" no_server
check "and none has failed" refused inside systemctl is-failed --quiet cosigner-nats@hub cosigner-nats@leaf
check "purge" inside sh -c 'apt-get purge -y cosigner >/root/purge.log 2>&1'
for path in /var/lib/cosigner /etc/cosigner/{credentials,operator.key,client.creds,authority,broker}; do
  check "purge says that it keeps $path" inside grep -q "^cosigner:   $path" /root/purge.log
  check "and does" inside test -e "$path"
done
check "and the configuration" inside test -s /etc/cosigner/cosigner.toml
check "an older version is refused over what is left" refused inside apt-get install -y --allow-downgrades "/root/cosigner_$version.deb"
check "it says why" grep -q 'refusing to replace' "$work/last.log"
check "install again" inside apt-get install -y --no-install-recommends "/root/cosigner_$version+next.deb"
again() { a status --json | value 'o.ready'; }
check "the node is there again, with its nats-servers" wait_until 30 again
inside touch /etc/cosigner/purge-key-material
check "purge with the flag" inside sh -c 'apt-get purge -y cosigner >/root/purge.log 2>&1'
check "says what it deletes" inside grep -q "^cosigner:   /etc/cosigner/authority" /root/purge.log
check "nothing is left" inside sh -c '! ls -d /var/lib/cosigner* /etc/cosigner /run/cosigner* 2>/dev/null | grep .'
check "and nothing runs" no_server
inside systemctl reset-failed
inside systemctl enable --quiet nats-server  # as it was: the instances speak to it
