# bash completion for cosigner-devcluster(1)

_cosigner_devcluster() {
    local cur prev words cword
    _init_completion || return

    case $prev in
        --dir | --programs)
            _filedir -d
            return
            ;;
        --topology)
            COMPREPLY=($(compgen -W 'single leaf' -- "$cur"))
            return
            ;;
        --nodes | --threshold | --idle-timeout | --set | --wait | --node) return ;;
    esac

    local options='--dir --programs --help'
    case ${words[1]} in
        up) options+=' --nodes --threshold --topology --idle-timeout --set --wait' ;;
        status) options+=' --json' ;;
        start) options+=' --node --wait' ;;
        stop) options+=' --node' ;;
    esac
    ((cword == 1)) && options='up down status start stop --help'
    COMPREPLY=($(compgen -W "$options" -- "$cur"))
} &&
    complete -F _cosigner_devcluster cosigner-devcluster
