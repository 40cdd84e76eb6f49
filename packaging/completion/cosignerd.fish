# fish completion for cosignerd(8)

complete -c cosignerd -f
complete -c cosignerd -l config -rF -d Configuration
complete -c cosignerd -l check -d 'Check the configuration and exit'
complete -c cosignerd -l help -d 'Print a summary'
complete -c cosignerd -l version -d 'Print the version'
