# fish completion for cosignerctl(1)

function __cosignerctl_users
    cosignerctl users --json 2>/dev/null | string match -arg '"user":"([^"]*)"'
end

set -l commands init client doctor metrics status users user top keys peers keygen sign presign bench evict restart quarantine clear bans unban renew verify drain log-level reload events config version

complete -c cosignerctl -f
complete -c cosignerctl -l socket -rF -d 'Control socket'
complete -c cosignerctl -l initiator -rF -d 'Initiator key'
complete -c cosignerctl -l json -d 'Print one JSON object'
complete -c cosignerctl -l help -d 'Print a summary'

complete -c cosignerctl -n "not __fish_seen_subcommand_from $commands" -a init -d 'Set this host up as a node'
complete -c cosignerctl -n "not __fish_seen_subcommand_from $commands" -a client -d 'NATS credentials for one more program'
complete -c cosignerctl -n "not __fish_seen_subcommand_from $commands" -a doctor -d 'Look for what is not as it should be'
complete -c cosignerctl -n "not __fish_seen_subcommand_from $commands" -a metrics -d 'What the node counts'
complete -c cosignerctl -n "not __fish_seen_subcommand_from $commands" -a status -d 'The node, its broker and workers'
complete -c cosignerctl -n "not __fish_seen_subcommand_from $commands" -a users -d 'The active users'
complete -c cosignerctl -n "not __fish_seen_subcommand_from $commands" -a user -d 'One user in detail'
complete -c cosignerctl -n "not __fish_seen_subcommand_from $commands" -a keys -d "A user's keys"
complete -c cosignerctl -n "not __fish_seen_subcommand_from $commands" -a keygen -d 'Make a key'
complete -c cosignerctl -n "not __fish_seen_subcommand_from $commands" -a sign -d 'Sign a message'
complete -c cosignerctl -n "not __fish_seen_subcommand_from $commands" -a presign -d 'Make presignatures'
complete -c cosignerctl -n '__fish_seen_subcommand_from bench' -l presigned -d 'With presignatures made beforehand'
complete -c cosignerctl -n '__fish_seen_subcommand_from presign' -l count -x -d 'How many, over all nodes'
complete -c cosignerctl -n '__fish_seen_subcommand_from presign' -l key -x -d 'Name of the key'
complete -c cosignerctl -n '__fish_seen_subcommand_from presign' -l user -x -a '(__cosignerctl_users)' -d 'Who owns the key'
complete -c cosignerctl -n "not __fish_seen_subcommand_from $commands" -a evict -d "End a user's idle process"
complete -c cosignerctl -n "not __fish_seen_subcommand_from $commands" -a peers -d "The nodes of the cluster"
complete -c cosignerctl -n "not __fish_seen_subcommand_from $commands" -a restart -d "Replace a user's process"
complete -c cosignerctl -n "not __fish_seen_subcommand_from $commands" -a quarantine -d "Serve this user no more until cleared"
complete -c cosignerctl -n "not __fish_seen_subcommand_from $commands" -a clear -d "Lift a user's quarantine"
complete -c cosignerctl -n "not __fish_seen_subcommand_from $commands" -a bans -d "Pairs that may not sign together"
complete -c cosignerctl -n "not __fish_seen_subcommand_from $commands" -a unban -d "Lift a ban by renewing OT state"
complete -c cosignerctl -n "not __fish_seen_subcommand_from $commands" -a renew -d "Renew OT state with a peer"
complete -c cosignerctl -n "not __fish_seen_subcommand_from $commands" -a verify -d "Compare stored shares with their certificates"
complete -c cosignerctl -n "not __fish_seen_subcommand_from $commands" -a drain -d "Take no new requests"
complete -c cosignerctl -n "not __fish_seen_subcommand_from $commands" -a log-level -d "Change the log level"
complete -c cosignerctl -n "not __fish_seen_subcommand_from $commands" -a top -d "The busiest users, drawn again and again"
complete -c cosignerctl -n "not __fish_seen_subcommand_from $commands" -a reload -d "Read the configuration again"
complete -c cosignerctl -n "not __fish_seen_subcommand_from $commands" -a events -d "What happens on the node"
complete -c cosignerctl -n "not __fish_seen_subcommand_from $commands" -a config -d 'Check a configuration'
complete -c cosignerctl -n "not __fish_seen_subcommand_from $commands" -a version -d 'Print the version'
complete -c cosignerctl -n "not __fish_seen_subcommand_from $commands" -a bench -d Measure

complete -c cosignerctl -n '__fish_seen_subcommand_from user' -a '(__cosignerctl_users)'
complete -c cosignerctl -n '__fish_seen_subcommand_from keys keygen sign evict restart quarantine clear bans unban renew verify' -l user -x -a '(__cosignerctl_users)' -d 'Who owns the key'
complete -c cosignerctl -n '__fish_seen_subcommand_from keygen sign unban renew verify' -l key -x -d 'Name of the key'
complete -c cosignerctl -n '__fish_seen_subcommand_from keygen bench' -l scheme -x -a 'ed25519 ecdsa-secp256k1' -d 'Signature scheme'
complete -c cosignerctl -n '__fish_seen_subcommand_from keygen bench' -l threshold -x -d 'Nodes that sign together'
complete -c cosignerctl -n '__fish_seen_subcommand_from keygen' -l participants -x -d 'Nodes, separated by commas'
complete -c cosignerctl -n '__fish_seen_subcommand_from sign' -l message-file -rF -d Message
complete -c cosignerctl -n '__fish_seen_subcommand_from sign' -l message-hex -x -d 'Message in hex'
complete -c cosignerctl -n '__fish_seen_subcommand_from sign' -l out -rF -d 'Where the signature goes'
complete -c cosignerctl -n '__fish_seen_subcommand_from sign' -l format -x -a 'hex base64 raw der rsv' -d 'Of the signature'
complete -c cosignerctl -n '__fish_seen_subcommand_from sign' -l encoding -x -a 'hex base64 binary' -d 'Of the format'
complete -c cosignerctl -n '__fish_seen_subcommand_from sign' -l digest-hex -x -d '32-byte digest in hex'
complete -c cosignerctl -n '__fish_seen_subcommand_from sign' -l hash -x -a 'sha256 keccak256 sha256d' -d 'Of the message'
complete -c cosignerctl -n '__fish_seen_subcommand_from sign keys' -l path -x -d 'To the child key'
complete -c cosignerctl -n '__fish_seen_subcommand_from config; and not __fish_seen_subcommand_from check' -a check -d 'Every mistake with file and line'
complete -c cosignerctl -n '__fish_seen_subcommand_from check' -F
complete -c cosignerctl -n '__fish_seen_subcommand_from bench; and test (count (commandline -opc)) -eq 2' -a 'sign keygen first-signature'
complete -c cosignerctl -n '__fish_seen_subcommand_from bench' -l users -x -d 'Number of users'
complete -c cosignerctl -n '__fish_seen_subcommand_from bench' -l concurrency -x -d 'Requests at once'
complete -c cosignerctl -n '__fish_seen_subcommand_from bench' -l duration -x -d Seconds
complete -c cosignerctl -n '__fish_seen_subcommand_from bench' -l count -x -d Signatures
complete -c cosignerctl -n '__fish_seen_subcommand_from bench' -l latencies -d 'How often each came, with --json'
complete -c cosignerctl -n '__fish_seen_subcommand_from first-signature' -l evict-socket -rF -d 'Control sockets of all nodes to evict at'
complete -c cosignerctl -n '__fish_seen_subcommand_from keygen sign presign unban renew' -l timeout -x -d 'Seconds to wait'
complete -c cosignerctl -n '__fish_seen_subcommand_from unban renew' -l peer -x -d 'The other node'
complete -c cosignerctl -n '__fish_seen_subcommand_from unban renew' -l reason -x -d 'Why it is safe now'
complete -c cosignerctl -n '__fish_seen_subcommand_from init' -l first -d 'Begin a cluster with this node'
complete -c cosignerctl -n '__fish_seen_subcommand_from init' -l join -d 'Make a node that joins one'
complete -c cosignerctl -n '__fish_seen_subcommand_from init' -l cluster -x -d 'Name of the cluster'
complete -c cosignerctl -n '__fish_seen_subcommand_from init' -l node -x -d 'Name of this node'
complete -c cosignerctl -n '__fish_seen_subcommand_from init' -l hub -x -d 'HOST[:PORT] of the nats-server that leaves join'
complete -c cosignerctl -n '__fish_seen_subcommand_from init' -l threshold -x -d 'Nodes that sign together'
complete -c cosignerctl -n '__fish_seen_subcommand_from init' -l credentials -x -a 'auto encrypted plain' -d 'Form of the secrets'
complete -c cosignerctl -n '__fish_seen_subcommand_from init' -l recovery-file -rF -d 'Copy of the key-encryption key'
complete -c cosignerctl -n '__fish_seen_subcommand_from init' -l key-encryption-key -rF -d 'Use this one'
complete -c cosignerctl -n '__fish_seen_subcommand_from init' -l broker-listen -x -d 'ADDRESS:PORT of this nats-server'
complete -c cosignerctl -n '__fish_seen_subcommand_from init' -l hub-listen -x -d "ADDRESS:PORT of the hub's clients"
complete -c cosignerctl -n '__fish_seen_subcommand_from client' -l out -rF -d 'Where they go'
complete -c cosignerctl -n '__fish_seen_subcommand_from client' -l days -x -d 'Until they expire: 365, 0 for never'
complete -c cosignerctl -n '__fish_seen_subcommand_from init export import client' -l dir -x -a '(__fish_complete_directories)' -d "The node's files"
complete -c cosignerctl -n '__fish_seen_subcommand_from peers; and not __fish_seen_subcommand_from export import' -a 'export import'
complete -c cosignerctl -n '__fish_seen_subcommand_from export' -l bundle -d "The cluster's bundle"
complete -c cosignerctl -n '__fish_seen_subcommand_from export' -l out -rF -d 'Where it goes'
complete -c cosignerctl -n '__fish_seen_subcommand_from import' -l yes -d 'The fingerprints have been compared'
complete -c cosignerctl -n '__fish_seen_subcommand_from import' -F
complete -c cosignerctl -n '__fish_seen_subcommand_from doctor' -l config -rF -d 'Configuration'
complete -c cosignerctl -n '__fish_seen_subcommand_from log-level' -a 'trace debug info warning error'
complete -c cosignerctl -n '__fish_seen_subcommand_from top' -l interval -x -d 'Seconds between two looks'
complete -c cosignerctl -n '__fish_seen_subcommand_from top' -l count -x -d 'Looks to take'
complete -c cosignerctl -n '__fish_seen_subcommand_from top' -l sort -x -a 'processor memory requests active user'
complete -c cosignerctl -n '__fish_seen_subcommand_from events' -l follow -d 'Until interrupted'
