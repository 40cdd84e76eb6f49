# bash completion for cosignerctl(1)

_cosignerctl_users() {
    cosignerctl users --json 2>/dev/null | grep -o '"user":"[^"]*"' | cut -d'"' -f4
}

_cosignerctl() {
    local cur prev words cword
    _init_completion || return

    local globals='--socket --initiator --json --help'
    local commands='init client doctor metrics status users user top keys peers keygen sign presign bench evict restart quarantine clear bans unban renew verify drain log-level reload events config version'

    case $prev in
        --socket | --initiator | --message-file | --out | --evict-socket | --config | --recovery-file | --key-encryption-key)
            _filedir
            return
            ;;
        --dir)
            _filedir -d
            return
            ;;
        --credentials)
            COMPREPLY=($(compgen -W 'auto encrypted plain' -- "$cur"))
            return
            ;;
        --scheme)
            COMPREPLY=($(compgen -W 'ed25519 ecdsa-secp256k1' -- "$cur"))
            return
            ;;
        --sort)
            COMPREPLY=($(compgen -W 'processor memory requests active user' -- "$cur"))
            return
            ;;
        --format)
            COMPREPLY=($(compgen -W 'hex base64 raw der rsv' -- "$cur"))
            return
            ;;
        --encoding)
            COMPREPLY=($(compgen -W 'hex base64 binary' -- "$cur"))
            return
            ;;
        --hash)
            COMPREPLY=($(compgen -W 'sha256 keccak256 sha256d' -- "$cur"))
            return
            ;;
        --user)
            COMPREPLY=($(compgen -W "$(_cosignerctl_users)" -- "$cur"))
            return
            ;;
        --key | --peer | --reason | --threshold | --participants | --message-hex | --digest-hex | --path | --users | --concurrency | --duration | --count | --timeout | --interval | \
            --cluster | --node | --hub | --days | --broker-listen | --hub-listen)
            return
            ;;
    esac

    local i command= sub=
    for ((i = 1; i < cword; i++)); do
        case ${words[i]} in
            --socket | --initiator) ((i++)) ;;
            -*) ;;
            *)
                if [[ -z $command ]]; then
                    command=${words[i]}
                elif [[ -z $sub ]]; then
                    sub=${words[i]}
                fi
                ;;
        esac
    done

    local options=
    case $command in
        '') COMPREPLY=($(compgen -W "$globals $commands" -- "$cur")) && return ;;
        user)
            [[ -z $sub && $cur != -* ]] && COMPREPLY=($(compgen -W "$(_cosignerctl_users)" -- "$cur")) && return
            ;;
        keys) options='--user --path' ;;
        evict | restart | quarantine | clear | bans) options='--user' ;;
        verify) options='--user --key' ;;
        unban | renew) options='--user --key --peer --reason --timeout' ;;
        top) options='--interval --count --sort' ;;
        events) options='--follow' ;;
        init)
            options='--first --join --cluster --node --hub --threshold --dir --credentials --recovery-file'
            options+=' --key-encryption-key --broker-listen --hub-listen'
            ;;
        peers)
            [[ -z $sub && $cur != -* ]] && COMPREPLY=($(compgen -W 'export import' -- "$cur")) && return
            case $sub in
                export) options='--dir --bundle --out' ;;
                import)
                    options='--dir --yes'
                    [[ $cur != -* ]] && _filedir && return
                    ;;
            esac
            ;;
        client) options='--out --days --dir' ;;
        doctor) options='--config' ;;
        log-level)
            COMPREPLY=($(compgen -W 'trace debug info warning error' -- "$cur"))
            return
            ;;
        keygen) options='--user --key --scheme --threshold --participants --timeout' ;;
        sign) options='--user --key --message-file --message-hex --digest-hex --hash --path --out --format --encoding --timeout -' ;;
        presign) options='--user --key --count --timeout' ;;
        config)
            [[ -z $sub ]] && COMPREPLY=($(compgen -W 'check' -- "$cur")) && return
            _filedir toml
            return
            ;;
        bench)
            [[ -z $sub ]] && COMPREPLY=($(compgen -W 'sign keygen first-signature' -- "$cur")) && return
            options='--scheme --threshold --count --latencies'
            case $sub in
                sign) options+=' --users --concurrency --duration --presigned' ;;
                keygen) options+=' --concurrency --duration' ;;
                first-signature) options+=' --evict-socket' ;;
            esac
            ;;
    esac
    COMPREPLY=($(compgen -W "$options $globals" -- "$cur"))
} &&
    complete -F _cosignerctl cosignerctl
