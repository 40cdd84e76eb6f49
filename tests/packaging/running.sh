# What happens to running nodes: who may do what, reload, restart, stop, crash, hang. Sourced by
# `installed`, with three instances of this version up.

say "rights"
uid() { inside id -u "$1"; }
entry() {  # entry UNIT FIELD=VALUE…: is there such a journal entry?
  local unit=$1; shift
  inside journalctl -q -o cat --no-pager -u "$unit" "$@" | grep -q .
}
check "a member of the admin group makes a key" \
  ctl admin node1 "${initiator[@]}" keygen --user bob --key main --scheme ed25519 --threshold 2
# Everybody has the initiator's key here: what is refused is refused for who asks.
for who in view stranger; do inside install -o "$who" -m 0600 /root/c/initiator.key "/home/$who/initiator.key"; done
refusals() {  # refusals WHO COMMAND…: how many the audit log has
  inside journalctl -q -o cat --no-pager -u cosigner@node1 AUDIT=control OUTCOME=denied "PEER_UID=$(uid "$1")" "${@:2}" | wc -l
}
denied() {  # denied WHO COMMAND…: on node1, for want of rights, and the audit log says so
  local who=$1 asked=("COMMAND=$2") before; shift
  case $1 in keygen | sign) asked=(COMMAND=cluster COMMAND=submit) ;; esac  # cosignerctl looks at the cluster first
  before=$(refusals "$who" "${asked[@]}")
  if ctl "$who" node1 --json "$@" >"$work/denied"; then return 1; fi
  grep -q '"error": *"denied"' "$work/denied" || { cat "$work/denied"; return 1; }
  more() { [ "$(refusals "$who" "${asked[@]}")" -gt "$before" ]; }
  wait_until 5 more
}
pair=(--user alice --key ecdsa-secp256k1 --peer node2 --reason test)
for looking in status metrics peers users "user alice" "keys --user alice" bans events; do
  # shellcheck disable=SC2086 # words of the command
  check "a viewer may: $looking" ctl view node1 $looking
  # shellcheck disable=SC2086
  check "a stranger may not: $looking" denied stranger $looking
done
for who in view stranger; do
  for changing in "evict --user bob" "restart --user bob" "quarantine --user bob" "clear --user bob" drain "log-level debug" reload; do
    # shellcheck disable=SC2086
    check "$who may not: $changing" denied "$who" $changing
  done
  for changing in unban renew; do check "$who may not: $changing" denied "$who" "$changing" "${pair[@]}"; done
done
check "of whom is in the audit log" entry cosigner@node1 AUDIT=control COMMAND=evict OUTCOME=denied USER_ID=bob "PEER_UID=$(uid view)"
theirs=(--initiator /home/stranger/initiator.key)
check "a stranger may not have a key made" denied stranger keygen "${theirs[@]}" --user eve --key main \
  --scheme ed25519 --threshold 2
check "a stranger may not have anything signed" denied stranger sign "${theirs[@]}" "${key[@]}" --message-hex 00
# What counts is the initiator's signature, which NATS would bring to the node as well.
check "a viewer hands in what an initiator has signed" ctl view node1 --initiator /home/view/initiator.key sign "${key[@]}" --message-hex 00
inside sh -ec 'head -c 32 /dev/urandom | od -An -v -tx1 | tr -d " \n" >/home/view/other.key; chown view /home/view/other.key; chmod 600 /home/view/other.key'
unsigned() {
  if ctl view node1 --json --initiator /home/view/other.key sign "${key[@]}" --message-hex 00 >"$work/unsigned"; then return 1; fi
  grep '"error": *"unauthorized"' "$work/unsigned"
}
check "and nothing that none has signed" unsigned
check "no core files, no privileges" inside sh -c \
  "grep -q '^CapBnd:.0000000000000000' /proc/$(main_pid cosigner@node1)/status && grep -q '^NoNewPrivs:.1' /proc/$(main_pid cosigner@node1)/status"
check "key material is in no environment and on no command line" inside sh -c \
  "! cat /proc/$(main_pid cosigner@node1)/environ /proc/$(main_pid cosigner@node1)/cmdline | tr '\0' '\n' | grep -E '[0-9a-f]{64}|^S[A-Z0-9]{50}'"

say "journal"
session() { sign node1 "$1" | sed -n 's/.*"session":"\([0-9a-f]*\)".*/\1/p'; }
id=$(session 0a0b)
check "a signature tells its session" test -n "$id"
check "the audit log has it: user, session, outcome" wait_until 5 entry cosigner@node1 AUDIT=request OPERATION=sign \
  OUTCOME=ok USER_ID=alice "SESSION_ID=$id"
generation_and_node() {
  inside journalctl -q -o json --no-pager -n 1 -u cosigner@node1 AUDIT=request "SESSION_ID=$id" | tee "$work/entry" |
    grep '"GENERATION":"[1-9]' | grep -q '"NODE":"node1"' || { cat "$work/entry"; return 1; }
}
check "with the worker's generation and the node" generation_and_node
foreign() { inside journalctl -q -o json --no-pager -u cosigner@node1 USER_ID=alice | grep -v '"USER_ID":"alice"' | grep .; }
check "by user, only that user's entries come" refused foreign
metrics() { ctl view node1 metrics >"$work/metrics" && grep -q '^cosigner_requests_total' "$work/metrics"; }
check "metrics are there for a viewer" metrics

say "reload"
config=$chroot/etc/cosigner/instances/node1/cosigner.toml
worker_of() { ctl admin node1 user alice --json | node -pe "JSON.parse(require('fs').readFileSync(0)).pid"; }
sign node1 01 >/dev/null
before=$(worker_of)
check "a worker serves alice" test "$before" -gt 1
steady_begin
cp "$config" "$work/cosigner.toml"
sed -i 's/^view_group = .*/view_group = "stranger"/' "$config"
sed -i 's/^max_workers = .*/max_workers = 777/' "$config"
printf '\n[log]\nlevel = "debug"\n' >>"$config"
check "systemctl reload" inside systemctl reload cosigner@node1
applied() {
  inside journalctl -q -o cat --no-pager -u cosigner@node1 |
    grep -qx 'reload: applied: control.view_group; workers.max_workers; log.level; needs a restart: nothing'
}
check "says what it applied" wait_until 5 applied
check "another group may look" ctl stranger node1 status
check "and the one before may not any more" refused ctl view node1 status
check "an operator's reload is in the audit log" wait_until 5 entry cosigner@node1 AUDIT=control COMMAND=reload OUTCOME=allowed
sed -i 's/^state_directory = .*/state_directory = "\/var\/lib\/elsewhere"/' "$config"
needs_restart() { [ "$(ctl admin node1 reload)" = 'needs a restart: state_directory' ]; }
check "what needs a restart is said" needs_restart
cp "$work/cosigner.toml" "$config"
printf '\n[nonsense]\n' >>"$config"
check "a mistake fails the reload" refused inside systemctl reload cosigner@node1
check "the node runs on" inside systemctl is-active --quiet cosigner@node1
cp "$work/cosigner.toml" "$config"
check "SIGHUP does the same" inside systemctl kill -s HUP --kill-whom=main cosigner@node1
undone() {
  [ "$(inside journalctl -q -o cat --no-pager -u cosigner@node1 |
    grep -cx 'reload: applied: control.view_group; workers.max_workers; log.level; needs a restart: nothing')" = 2 ]
}
check "and says so" wait_until 5 undone
check "the first group may look again" ctl view node1 status
steady_end "reload"
check "no worker was replaced" test "$(worker_of)" = "$before"

say "hashed users"
token=$(ctl admin node1 user alice --json | node -pe "JSON.parse(require('fs').readFileSync(0)).token")
printf '\n[log]\nusers = "hashed"\nlevel = "debug"\n' >>"$config"
check "reload" ctl admin node1 reload
cursor=$(inside journalctl -q -o json --no-pager -n 1 -u cosigner@node1 | sed -n 's/.*"__CURSOR":"\([^"]*\)".*/\1/p')
# No further matches: with them journalctl leaves the first one out, taking it for the cursor's own entry.
since() { inside journalctl -q -o json --all --no-pager --after-cursor="$cursor" -u cosigner@node1 | grep -F "\"USER_ID\":\"$token\""; }
id=$(session 0a0c)
check "a signature" test -n "$id"
found() { since | grep -F '"AUDIT":"request"' | grep -F "\"SESSION_ID\":\"$id\""; }
check "the token finds its entry" wait_until 5 found
ended() { since | grep -iE '"MESSAGE":"[^"]*(killed|signal)'; }
inside sh -c "kill -KILL $(worker_of)"
check "a worker's death is told of the token" wait_until 10 ended
check "it signs" wait_until 20 sign node1 0a0d
check "an operator's evict" wait_until 5 ctl admin node1 evict --user alice
audited() { since | grep -F '"AUDIT":"control"' | grep -F '"COMMAND":"evict"'; }
check "is in the audit log under the token" wait_until 5 audited
inside journalctl -q -o json --all --no-pager --after-cursor="$cursor" -u cosigner@node1 >"$work/hashed"
check "and the name is nowhere: not in any field" refused grep -ai alice "$work/hashed"
cp "$work/cosigner.toml" "$config"
check "reload" ctl admin node1 reload

say "restart, stop, start"
steady_begin
for node in node1 node2 node3; do
  begun=$(milliseconds)
  check "restart of $node" inside systemctl restart "cosigner@$node"
  figure "restart of $node while a client signs: $(($(milliseconds) - begun)) ms"
done
begun=$(milliseconds)
check "stop under load" inside systemctl stop cosigner@node3
figure "stop of a node while a client signs: $(($(milliseconds) - begun)) ms"
check "a stopped node stays stopped when somebody calls" refused ctl admin node3 status
check "its socket is gone with it" refused inside test -e /run/cosigner@node3/control.sock
check "it does" refused inside systemctl is-active --quiet cosigner@node3
check "two of three sign" sign node1 02
check "start" inside systemctl start cosigner@node3
steady_end "restart of every node in turn, stop and start of one"
wait_until 20 all_present || true
starts=$([ -n "${COSIGNER_TEST_FULL:-}" ] && echo 9 || echo 3)
for ((i = 0; i < starts; i++)); do
  inside systemctl stop cosigner@node3
  inside systemctl reset-failed cosigner@node3  # so many starts in a row are what StartLimitBurst= is against
  begun=$(milliseconds)
  inside systemctl start cosigner@node3
  echo $(($(milliseconds) - begun)) >>"$work/cold"
done
figure "systemctl start to READY, p50 of $starts: $(median "$starts" <"$work/cold") ms (all: $(sort -n "$work/cold" | tr '\n' ' '))"
wait_until 20 all_present || true
pids=$(ctl admin node3 status --json)
pid_of() { node -pe "JSON.parse(require('fs').readFileSync(0)).$1.pid" <<<"$pids"; }
figure "idle node, private memory: supervisor $(private_kib "$(main_pid cosigner@node3)") KiB, zygote $(private_kib "$(pid_of zygote)") KiB, gateway $(private_kib "$(pid_of gateway)") KiB"

say "a stopped node stays stopped, however it was stopped"
socket=cosigner-control@node3.socket
stays_down() {  # stays_down HOW: nobody's knock starts node3
  check "$1: the node ends" wait_until 20 refused inside systemctl is-active --quiet cosigner@node3
  check "$1: so does its socket" wait_until 5 refused inside systemctl is-active --quiet "$socket"
  check "$1: a stranger's knock is not heard" refused ctl stranger node3 status
  check "$1: an admin's neither" refused ctl admin node3 status
  # systemd would have queued the start with the knock.
  check "$1: and nothing was started" refused inside sh -c 'systemctl list-jobs | grep cosigner@node3'
  check "$1: it is down" refused inside systemctl is-active --quiet cosigner@node3
}
check "drain" ctl admin node3 drain
stays_down drain
check "a drained node is no failure" refused inside systemctl is-failed --quiet cosigner@node3 "$socket"
check "and starts when it is told to" inside systemctl start cosigner@node3
inside sh -c "kill -TERM $(main_pid cosigner@node3)"
stays_down SIGTERM
config3=$chroot/etc/cosigner/instances/node3/cosigner.toml
cp "$config3" "$work/cosigner3.toml"
printf '\n[nonsense]\n' >>"$config3"
check "a mistake in the configuration ends the start" refused inside systemctl start cosigner@node3
inside systemctl reset-failed cosigner@node3 "$socket"  # the start limit is not what keeps it down
stays_down "a mistake"
cp "$work/cosigner3.toml" "$config3"
check "with it mended the node starts at once" inside systemctl start cosigner@node3
check "and is restarted as ever" inside systemctl restart cosigner@node3
check "with its socket" ctl admin node3 status

say "a socket started alone starts its node with the first caller"
inside systemctl stop cosigner@node3
check "the socket" inside systemctl start "$socket"
check "nobody has called" refused inside systemctl is-active --quiet cosigner@node3
check "a caller is answered" ctl admin node3 status
check "by the node, which systemd has started" inside systemctl is-active --quiet cosigner@node3
check "and which signs" wait_until 20 sign node3 0104

say "hang and crash"
mkdir -p "$chroot/etc/systemd/system/cosigner@node2.service.d"
printf '[Service]\nWatchdogSec=4\n' >"$chroot/etc/systemd/system/cosigner@node2.service.d/test.conf"
inside systemctl daemon-reload
inside systemctl restart cosigner@node2
hung=$(main_pid cosigner@node2)
steady_begin
inside sh -c "kill -STOP $hung"
check "two of three sign while the third hangs" sign node1 0102
restarted() { [ "$(main_pid cosigner@node2)" != "$hung" ] && inside systemctl is-active --quiet cosigner@node2; }
check "the watchdog starts a hung node again" wait_until 30 restarted
check "for that reason" inside sh -c "journalctl -q --no-pager -u cosigner@node2 | grep -i 'watchdog'"
check "it serves again" wait_until 20 sign node2 0103
inside sh -c "kill -KILL $(main_pid cosigner@node1)"
check "systemd has started it again" wait_until 20 sign node1 01
check "its key is still there" ctl admin node1 keys --user alice
steady_end "a hung and a killed node"
