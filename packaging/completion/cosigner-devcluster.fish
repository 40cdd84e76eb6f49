# fish completion for cosigner-devcluster(1)

complete -c cosigner-devcluster -f
complete -c cosigner-devcluster -l help -d 'Print a summary'
complete -c cosigner-devcluster -n 'not __fish_seen_subcommand_from up down status' -a up -d 'Make and start a cluster'
complete -c cosigner-devcluster -n 'not __fish_seen_subcommand_from up down status' -a down -d 'Stop it'
complete -c cosigner-devcluster -n 'not __fish_seen_subcommand_from up down status' -a status -d 'Which processes run'
complete -c cosigner-devcluster -n '__fish_seen_subcommand_from up down status' -l dir -x -a '(__fish_complete_directories)' -d 'Where the cluster lives'
complete -c cosigner-devcluster -n '__fish_seen_subcommand_from up' -l nodes -x -d 'Number of nodes'
complete -c cosigner-devcluster -n '__fish_seen_subcommand_from up' -l threshold -x -d 'Nodes that sign together'
complete -c cosigner-devcluster -n '__fish_seen_subcommand_from up' -l topology -x -a 'single leaf' -d Brokers
