# fish completion for cosigner-devcluster(1)

complete -c cosigner-devcluster -f
complete -c cosigner-devcluster -l help -d 'Print a summary'
complete -c cosigner-devcluster -n 'not __fish_seen_subcommand_from up down status start stop' -a up -d 'Make and start a cluster'
complete -c cosigner-devcluster -n 'not __fish_seen_subcommand_from up down status start stop' -a down -d 'Stop it'
complete -c cosigner-devcluster -n 'not __fish_seen_subcommand_from up down status start stop' -a status -d 'What runs'
complete -c cosigner-devcluster -n 'not __fish_seen_subcommand_from up down status start stop' -a start -d 'Start what does not run'
complete -c cosigner-devcluster -n 'not __fish_seen_subcommand_from up down status start stop' -a stop -d 'End one node'
complete -c cosigner-devcluster -n '__fish_seen_subcommand_from up down status start stop' -l dir -x -a '(__fish_complete_directories)' -d 'Where the cluster lives'
complete -c cosigner-devcluster -n '__fish_seen_subcommand_from up' -l nodes -x -d 'Number of nodes'
complete -c cosigner-devcluster -n '__fish_seen_subcommand_from up' -l threshold -x -d 'Nodes that sign together'
complete -c cosigner-devcluster -n '__fish_seen_subcommand_from up' -l topology -x -a 'single leaf' -d Brokers
complete -c cosigner-devcluster -n '__fish_seen_subcommand_from up' -l idle-timeout -x -d 'Seconds until an idle worker is evicted'
complete -c cosigner-devcluster -n '__fish_seen_subcommand_from up' -l set -x -d 'A setting: TABLE.KEY=VALUE'
complete -c cosigner-devcluster -n '__fish_seen_subcommand_from up start' -l wait -x -d 'Seconds until ready'
complete -c cosigner-devcluster -n '__fish_seen_subcommand_from start stop' -l node -x -d 'Number of a node'
complete -c cosigner-devcluster -n '__fish_seen_subcommand_from status' -l json -d 'Print one JSON object'
complete -c cosigner-devcluster -l programs -x -a '(__fish_complete_directories)' -d 'Folder of cosignerd'
