# bash completion for cosigner-devcluster(1)

_cosigner_devcluster() {
    local cur prev words cword
    _init_completion || return

    case $prev in
        --dir)
            _filedir -d
            return
            ;;
        --topology)
            COMPREPLY=($(compgen -W 'single leaf' -- "$cur"))
            return
            ;;
        --nodes | --threshold) return ;;
    esac

    if ((cword == 1)); then
        COMPREPLY=($(compgen -W 'up down status --help' -- "$cur"))
    elif [[ ${words[1]} == up ]]; then
        COMPREPLY=($(compgen -W '--dir --nodes --threshold --topology --help' -- "$cur"))
    else
        COMPREPLY=($(compgen -W '--dir --help' -- "$cur"))
    fi
} &&
    complete -F _cosigner_devcluster cosigner-devcluster
