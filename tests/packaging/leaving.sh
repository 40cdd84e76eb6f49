# Full disk, downgrade, reboot, removal and purge. Sourced by `installed`, with three instances of this version up.

say "disk full during an upgrade"
before=$(main_pid cosigner@node2)
# The worker's folder as a file system of its own, with no room for a second copy of the program.
inside sh -ec 'cp -a /usr/lib/cosigner /root/programs
  mount -t tmpfs -o "size=$(($(du -sk /root/programs | cut -f1) + 300))k" tmpfs /usr/lib/cosigner
  cp -a /root/programs/. /usr/lib/cosigner'
check "an upgrade with a full disk fails" refused inside apt-get install -y "/root/cosigner_$version+next.deb"
check "for that reason" grep -qi 'no space left' "$work/last.log"
check "this version is still installed, whole" installed_version_is "$version"
check "its nodes ran on" test "$(main_pid cosigner@node2)" = "$before"
check "and start" inside systemctl restart cosigner@node2
check "and sign" wait_until 20 sign node2 0601
inside umount --lazy /usr/lib/cosigner  # node2 runs from it
steady_begin
begun=$(milliseconds)
check "with room, the upgrade goes" upgrade "$version+next"
figure "upgrade of three instances one after another: $(($(milliseconds) - begun)) ms"
steady_end "upgrade with room"
check "the new version is installed" installed_version_is "$version+next"

say "downgrade"
before=$(main_pid cosigner@node2)
sum() { inside sh -c 'cd /usr && sha256sum sbin/cosignerd bin/cosignerctl lib/cosigner/cosigner-worker; ls -l --time-style=full-iso /etc/cosigner'; }
sum >"$work/before"
check "an older version is refused over a store" refused inside apt-get install -y --allow-downgrades "/root/cosigner_$version.deb"
check "it says why, and what to do" grep -q 'refusing to replace' "$work/last.log"
check "the newer version is still installed" installed_version_is "$version+next"
sum >"$work/after"
check "nothing was touched" cmp "$work/before" "$work/after"
check "the nodes ran on" test "$(main_pid cosigner@node2)" = "$before"
check "and sign" sign node2 04
inside touch /etc/cosigner/allow-downgrade
check "with the operator's permission it goes" inside apt-get install -y --allow-downgrades "/root/cosigner_$version.deb"
check "the permission is used up" refused inside test -e /etc/cosigner/allow-downgrade

say "reboot"
halt
boot || { echo "FAILED: second boot"; tail -n 20 "$work/boot.log"; exit 1; }
check "after a reboot they sign" wait_until 30 sign node3 05

say "remove and purge"
check "remove" inside apt-get remove -y cosigner
check "nothing runs" refused inside sh -c "grep -l 'Name:.cosigner' /proc/[0-9]*/status 2>/dev/null | grep ."
check "nothing listens" refused inside sh -c 'ls /run/cosigner*/control.sock'
check "shares are still there" inside test -s /var/lib/cosigner@node1/cosigner.db
check "purge" inside sh -c 'apt-get purge -y cosigner >/root/purge.log 2>&1'
check "purge says what it keeps" inside grep -q 'key material is kept' /root/purge.log
check "shares survive a purge" inside test -s /var/lib/cosigner@node1/cosigner.db
check "so do the credentials" inside test -s /etc/cosigner/instances/node1/credentials/key-encryption-key
check "install again" inside apt-get install -y "/root/cosigner_$version.deb"
check "the nodes come back with their shares" inside systemctl start "${nodes[@]}"
check "and sign" wait_until 20 sign node1 06
inside touch /etc/cosigner/purge-key-material
check "purge with the flag" inside apt-get purge -y cosigner
check "nothing is left" inside sh -c '! ls -d /var/lib/cosigner* /etc/cosigner /run/cosigner* 2>/dev/null | grep .'
halt
