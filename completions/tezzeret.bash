# Completion of tezzeret for bash.
# Made by tools/make_manual.py from the command line's definition; changes here are lost.

_tezzeret_offer() {
    local current=$1 word
    shift
    for word; do
        if [[ $word == "$current"* ]]; then
            COMPREPLY+=("$word")
        fi
    done
}

_tezzeret_paths() {
    mapfile -t COMPREPLY < <(compgen "$1" -- "$2")
    compopt -o filenames 2>/dev/null
}

_tezzeret() {
    local current=${COMP_WORDS[COMP_CWORD]} at=tezzeret option='' rest='' count=0 word i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ -n $option ]]; then
            [[ $word == = ]] || option=''
            continue
        fi
        case "${rest:-$at}|$word" in
            'tezzeret|compile') at='tezzeret compile' count=0 ;;
            'tezzeret|resume') at='tezzeret resume' count=0 ;;
            'tezzeret|gc') at='tezzeret gc' count=0 ;;
            'tezzeret|prewarm') at='tezzeret prewarm' count=0 ;;
            'tezzeret|stats') at='tezzeret stats' count=0 ;;
            'tezzeret|verify') at='tezzeret verify' count=0 ;;
            'tezzeret compile|--store') option=$word ;;
            'tezzeret compile|--strategy') option=$word ;;
            'tezzeret compile|--approve') option=$word ;;
            'tezzeret compile|--approvals') option=$word ;;
            'tezzeret compile|--select') option=$word ;;
            'tezzeret compile|--tier') option=$word ;;
            'tezzeret compile|--stage') option=$word ;;
            'tezzeret compile|--shard') option=$word ;;
            'tezzeret compile|--param') option=$word ;;
            'tezzeret compile|--profile') option=$word ;;
            'tezzeret compile|--device') option=$word ;;
            'tezzeret compile|--isa') option=$word ;;
            'tezzeret compile|--jobs' | 'tezzeret compile|-j') option=$word ;;
            'tezzeret compile|--timeout') option=$word ;;
            'tezzeret compile|--memory') option=$word ;;
            'tezzeret compile|--cache') option=$word ;;
            'tezzeret compile|--state') option=$word ;;
            'tezzeret compile|--sign') option=$word ;;
            'tezzeret compile|--key') option=$word ;;
            'tezzeret compile|--identity-token') option=$word ;;
            'tezzeret compile|--trust-config') option=$word ;;
            'tezzeret compile|--oona-url') option=$word ;;
            'tezzeret compile|--output-format') option=$word ;;
            'tezzeret resume|--store') option=$word ;;
            'tezzeret resume|--state') option=$word ;;
            'tezzeret resume|--run') option=$word ;;
            'tezzeret resume|--abandon') option=$word ;;
            'tezzeret resume|--oona-url') option=$word ;;
            'tezzeret resume|--identity-token') option=$word ;;
            'tezzeret resume|--output-format') option=$word ;;
            'tezzeret gc|--store') option=$word ;;
            'tezzeret gc|--ttl') option=$word ;;
            'tezzeret gc|--keep') option=$word ;;
            'tezzeret gc|--max-size') option=$word ;;
            'tezzeret gc|--pin') option=$word ;;
            'tezzeret gc|--cache-ttl') option=$word ;;
            'tezzeret gc|--journal-ttl') option=$word ;;
            'tezzeret gc|--cache') option=$word ;;
            'tezzeret gc|--state') option=$word ;;
            'tezzeret gc|--oona-url') option=$word ;;
            'tezzeret prewarm|--store') option=$word ;;
            'tezzeret prewarm|--device') option=$word ;;
            'tezzeret prewarm|--jobs' | 'tezzeret prewarm|-j') option=$word ;;
            'tezzeret prewarm|--repeat') option=$word ;;
            'tezzeret prewarm|--max-regression') option=$word ;;
            'tezzeret prewarm|--key') option=$word ;;
            'tezzeret prewarm|--cert-identity') option=$word ;;
            'tezzeret prewarm|--cert-oidc-issuer') option=$word ;;
            'tezzeret prewarm|--trusted-root') option=$word ;;
            'tezzeret prewarm|--allow-factory') option=$word ;;
            'tezzeret prewarm|--oona-url') option=$word ;;
            'tezzeret prewarm|--output-format') option=$word ;;
            'tezzeret stats|--store') option=$word ;;
            'tezzeret stats|--since') option=$word ;;
            'tezzeret stats|--format') option=$word ;;
            'tezzeret stats|--output') option=$word ;;
            'tezzeret stats|--interval') option=$word ;;
            'tezzeret stats|--cache') option=$word ;;
            'tezzeret stats|--state') option=$word ;;
            'tezzeret verify|--store') option=$word ;;
            'tezzeret verify|--key') option=$word ;;
            'tezzeret verify|--cert-identity') option=$word ;;
            'tezzeret verify|--cert-oidc-issuer') option=$word ;;
            'tezzeret verify|--trusted-root') option=$word ;;
            'tezzeret verify|--expect-id') option=$word ;;
            'tezzeret verify|--expect-version') option=$word ;;
            'tezzeret verify|--expect-digest') option=$word ;;
            'tezzeret verify|--jobs' | 'tezzeret verify|-j') option=$word ;;
            'tezzeret verify|--state') option=$word ;;
            'tezzeret verify|--oona-url') option=$word ;;
            'tezzeret verify|--output-format') option=$word ;;
            '--|'*) ((count += 1)) ;;
            *'|--') rest=-- ;;
            *'|-'?*) ;;
            *) ((count += 1)) ;;
        esac
    done
    if [[ -n $option ]]; then
        [[ $current == = ]] && current=''
        case "$at|$option" in
            'tezzeret compile|--store') _tezzeret_paths -d "$current" ;;
            'tezzeret compile|--strategy') _tezzeret_offer "$current" aggressive standard fast emergency auto ;;
            'tezzeret compile|--approvals') _tezzeret_paths -f "$current" ;;
            'tezzeret compile|--tier') _tezzeret_offer "$current" unspecified safe experimental high-risk ;;
            'tezzeret compile|--profile') _tezzeret_paths -f "$current" ;;
            'tezzeret compile|--device') _tezzeret_offer "$current" cpu cuda ;;
            'tezzeret compile|--isa') _tezzeret_offer "$current" avx512 avx2 neon ;;
            'tezzeret compile|--cache') _tezzeret_paths -d "$current" ;;
            'tezzeret compile|--state') _tezzeret_paths -d "$current" ;;
            'tezzeret compile|--sign') _tezzeret_offer "$current" key keyless none ;;
            'tezzeret compile|--key') _tezzeret_paths -f "$current" ;;
            'tezzeret compile|--trust-config') _tezzeret_paths -f "$current" ;;
            'tezzeret compile|--output-format') _tezzeret_offer "$current" text json github junit ;;
            'tezzeret resume|--store') _tezzeret_paths -d "$current" ;;
            'tezzeret resume|--state') _tezzeret_paths -d "$current" ;;
            'tezzeret resume|--output-format') _tezzeret_offer "$current" text json github junit ;;
            'tezzeret gc|--store') _tezzeret_paths -d "$current" ;;
            'tezzeret gc|--cache') _tezzeret_paths -d "$current" ;;
            'tezzeret gc|--state') _tezzeret_paths -d "$current" ;;
            'tezzeret prewarm|--store') _tezzeret_paths -d "$current" ;;
            'tezzeret prewarm|--device') _tezzeret_offer "$current" cpu cuda ;;
            'tezzeret prewarm|--key') _tezzeret_paths -f "$current" ;;
            'tezzeret prewarm|--trusted-root') _tezzeret_paths -f "$current" ;;
            'tezzeret prewarm|--output-format') _tezzeret_offer "$current" text json github junit ;;
            'tezzeret stats|--store') _tezzeret_paths -d "$current" ;;
            'tezzeret stats|--format') _tezzeret_offer "$current" table json prometheus ;;
            'tezzeret stats|--output') _tezzeret_paths -f "$current" ;;
            'tezzeret stats|--cache') _tezzeret_paths -d "$current" ;;
            'tezzeret stats|--state') _tezzeret_paths -d "$current" ;;
            'tezzeret verify|--store') _tezzeret_paths -d "$current" ;;
            'tezzeret verify|--key') _tezzeret_paths -f "$current" ;;
            'tezzeret verify|--trusted-root') _tezzeret_paths -f "$current" ;;
            'tezzeret verify|--state') _tezzeret_paths -d "$current" ;;
            'tezzeret verify|--output-format') _tezzeret_offer "$current" text json github junit ;;
        esac
    elif [[ -z $rest && $current == -* ]]; then
        case $at in
            tezzeret) _tezzeret_offer "$current" --version --install-completion --show-completion --help -h ;;
            'tezzeret compile') _tezzeret_offer "$current" --store --strategy --allow-aggressive --conservative --approve --approvals --select --tier --stage --shard --param --profile --device --isa --jobs -j --timeout --memory --cache --state --sign --key --identity-token --trust-config --force --resume --dry-run --explain --strict --oona-url --output-format --json --quiet -q --verbose -v --help -h ;;
            'tezzeret resume') _tezzeret_offer "$current" --store --state --run --list --abandon --dry-run --accept-tail-loss --oona-url --identity-token --output-format --json --quiet -q --verbose -v --help -h ;;
            'tezzeret gc') _tezzeret_offer "$current" --store --ttl --keep --max-size --pin --cache-ttl --journal-ttl --cache --state --dry-run --oona-url --json --quiet -q --verbose -v --help -h ;;
            'tezzeret prewarm') _tezzeret_offer "$current" --store --device --jobs -j --repeat --max-regression --key --cert-identity --cert-oidc-issuer --trusted-root --allow-factory --oona-url --output-format --json --quiet -q --verbose -v --help -h ;;
            'tezzeret stats') _tezzeret_offer "$current" --store --since --format --output --watch --interval --cache --state --json --help -h ;;
            'tezzeret verify') _tezzeret_offer "$current" --store --key --cert-identity --cert-oidc-issuer --trusted-root --expect-id --expect-version --expect-digest --load --jobs -j --state --oona-url --output-format --json --quiet -q --verbose -v --help -h ;;
        esac
    else
        case "$at|$count" in
            'tezzeret|0') _tezzeret_offer "$current" compile resume gc prewarm stats verify ;;
            'tezzeret compile|'*) _tezzeret_paths -f "$current" ;;
            'tezzeret prewarm|'*) _tezzeret_paths -f "$current" ;;
            'tezzeret verify|'*) _tezzeret_paths -f "$current" ;;
        esac
    fi
    return 0
}

complete -F _tezzeret tezzeret
