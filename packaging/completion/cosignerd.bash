# bash completion for cosignerd(8)

_cosignerd() {
    local cur prev words cword
    _init_completion || return

    if [[ $prev == --config ]]; then
        _filedir toml
    else
        COMPREPLY=($(compgen -W '--config --check --help --version' -- "$cur"))
    fi
} &&
    complete -F _cosignerd cosignerd
