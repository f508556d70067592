# Completion of tezzeret for fish.
# Made by tools/make_manual.py from the command line's definition; changes here are lost.

# Whether the cursor is in this command, and in one of its arguments of this number.
function __tezzeret_at
    set -l at 'tezzeret'
    set -l count 0
    set -l skip 0
    set -l words (commandline -opc)
    set -e words[1]
    for word in $words
        if test $skip = 1
            set skip 0
            continue
        end
        switch "$at|$word"
            case 'tezzeret|compile'
                set at 'tezzeret compile'
                set count 0
            case 'tezzeret|resume'
                set at 'tezzeret resume'
                set count 0
            case 'tezzeret|gc'
                set at 'tezzeret gc'
                set count 0
            case 'tezzeret|prewarm'
                set at 'tezzeret prewarm'
                set count 0
            case 'tezzeret|stats'
                set at 'tezzeret stats'
                set count 0
            case 'tezzeret|verify'
                set at 'tezzeret verify'
                set count 0
            case 'tezzeret compile|--store' 'tezzeret compile|--strategy' 'tezzeret compile|--approve' 'tezzeret compile|--approvals' 'tezzeret compile|--select' 'tezzeret compile|--tier' 'tezzeret compile|--stage' 'tezzeret compile|--shard' 'tezzeret compile|--param' 'tezzeret compile|--profile' 'tezzeret compile|--device' 'tezzeret compile|--isa' 'tezzeret compile|--jobs' 'tezzeret compile|-j' 'tezzeret compile|--timeout' 'tezzeret compile|--memory' 'tezzeret compile|--cache' 'tezzeret compile|--state' 'tezzeret compile|--sign' 'tezzeret compile|--key' 'tezzeret compile|--identity-token' 'tezzeret compile|--trust-config' 'tezzeret compile|--oona-url' 'tezzeret compile|--output-format'
                set skip 1
            case 'tezzeret resume|--store' 'tezzeret resume|--state' 'tezzeret resume|--run' 'tezzeret resume|--abandon' 'tezzeret resume|--oona-url' 'tezzeret resume|--identity-token' 'tezzeret resume|--output-format'
                set skip 1
            case 'tezzeret gc|--store' 'tezzeret gc|--ttl' 'tezzeret gc|--keep' 'tezzeret gc|--max-size' 'tezzeret gc|--pin' 'tezzeret gc|--cache-ttl' 'tezzeret gc|--journal-ttl' 'tezzeret gc|--cache' 'tezzeret gc|--state' 'tezzeret gc|--oona-url'
                set skip 1
            case 'tezzeret prewarm|--store' 'tezzeret prewarm|--state' 'tezzeret prewarm|--device' 'tezzeret prewarm|--jobs' 'tezzeret prewarm|-j' 'tezzeret prewarm|--repeat' 'tezzeret prewarm|--max-regression' 'tezzeret prewarm|--key' 'tezzeret prewarm|--cert-identity' 'tezzeret prewarm|--cert-oidc-issuer' 'tezzeret prewarm|--trusted-root' 'tezzeret prewarm|--allow-factory' 'tezzeret prewarm|--oona-url' 'tezzeret prewarm|--output-format'
                set skip 1
            case 'tezzeret stats|--store' 'tezzeret stats|--since' 'tezzeret stats|--format' 'tezzeret stats|--output' 'tezzeret stats|--interval' 'tezzeret stats|--cache' 'tezzeret stats|--state'
                set skip 1
            case 'tezzeret verify|--store' 'tezzeret verify|--key' 'tezzeret verify|--cert-identity' 'tezzeret verify|--cert-oidc-issuer' 'tezzeret verify|--trusted-root' 'tezzeret verify|--expect-id' 'tezzeret verify|--expect-version' 'tezzeret verify|--expect-digest' 'tezzeret verify|--jobs' 'tezzeret verify|-j' 'tezzeret verify|--state' 'tezzeret verify|--oona-url' 'tezzeret verify|--output-format'
                set skip 1
            case '*|-*'
            case '*'
                set count (math $count + 1)
        end
    end
    test "$at" = "$argv[1]"; and string match -q -- "$argv[2]*" $count
end

complete -c tezzeret -f
complete -c tezzeret -n '__tezzeret_at \'tezzeret\' 0' -a compile -d 'Compile blueprints into bundles; what is unchanged is skipped.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret\' 0' -a resume -d 'Finish what a run that did not end left to do on a store.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret\' 0' -a gc -d 'Remove what nobody uses any more, and what runs left behind.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret\' 0' -a prewarm -d 'Time bundles against eager, in fresh processes.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret\' 0' -a stats -d 'Show what the runs on a store did, and how it stands.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret\' 0' -a verify -d 'Verify who signed bundles or whole stores, and every byte.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret\'' -l version -d 'Show the version and exit.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret\'' -l install-completion -d 'Install completion for the current shell.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret\'' -l show-completion -d 'Show completion for the current shell, to copy it or customize the installation.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret\'' -l help -s h -d 'Show this message and exit.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret compile\' \'*\'' -F
complete -c tezzeret -n '__tezzeret_at \'tezzeret compile\'' -l store -f -a '(__fish_complete_directories (commandline -ct | string replace -r -- \'^--[^=]*=\' \'\'))' -r -d 'Where bundles are published. [env: TEZZERET_STORE]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret compile\'' -l strategy -f -a '\'aggressive\' \'standard\' \'fast\' \'emergency\' \'auto\'' -r -d 'How hard to compile: standard, fast, emergency, aggressive, or auto. [default: standard]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret compile\'' -l allow-aggressive -d 'Allow the aggressive strategy.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret compile\'' -l conservative -d 'One job at a time, the fast strategy, longer timeouts.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret compile\'' -l approve -f -r -d 'Approve blueprints that need it, by id or name; repeatable.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret compile\'' -l approvals -F -r -d 'File (TOML) with the blueprints that are approved.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret compile\'' -l select -f -r -d 'Only blueprints whose id or name matches; repeatable.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret compile\'' -l tier -f -a '\'unspecified\' \'safe\' \'experimental\' \'high-risk\'' -r -d 'Only blueprints of this tier.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret compile\'' -l stage -f -r -d 'Only blueprints of this stage.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret compile\'' -l shard -f -r -d 'Only the Nth of M parts of the jobs, such as 2/8, for CI matrices.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret compile\'' -l param -f -r -d 'Value of a parameter, for all that have it or for one (BP023.layers=2); repeatable.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret compile\'' -l profile -F -r -d 'Compile profile (TOML): shapes, factories and more.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret compile\'' -l device -f -a '\'cpu\' \'cuda\'' -r -d 'cpu, cuda or cuda:N. [default: cpu]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret compile\'' -l isa -f -a '\'avx512\' \'avx2\' \'neon\'' -r -d 'Instruction set of the libraries: avx512, avx2 or neon. [default: the best one here]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret compile\'' -l jobs -s j -f -r -d 'Jobs at once. [default: cores, as memory allows]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret compile\'' -l timeout -f -r -d 'Time for one build. [default: the strategy\'s]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret compile\'' -l memory -f -r -d 'Memory for one build. [default: the strategy\'s]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret compile\'' -l cache -f -a '(__fish_complete_directories (commandline -ct | string replace -r -- \'^--[^=]*=\' \'\'))' -r -d 'Compiled headers and scratch. [default: $XDG_CACHE_HOME/tezzeret]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret compile\'' -l state -f -a '(__fish_complete_directories (commandline -ct | string replace -r -- \'^--[^=]*=\' \'\'))' -r -d 'Journals of runs, on a local disk. [default: $XDG_STATE_HOME/tezzeret]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret compile\'' -l sign -f -a '\'key\' \'keyless\' \'none\'' -r -d 'Sign by key, keyless, or none. [default: key]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret compile\'' -l key -F -r -d 'Private key to sign with. [default: $XDG_CONFIG_HOME/tezzeret/signing-key.pem]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret compile\'' -l identity-token -f -r -d 'OIDC token for keyless signing. [default: what the environment offers]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret compile\'' -l trust-config -F -r -d 'Client trust configuration of a private Sigstore instance. [default: the public one]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret compile\'' -l force -d 'Compile what is unchanged, too.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret compile\'' -l resume -d 'First finish what a dead run on this store left.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret compile\'' -l dry-run -d 'Show the plan; write nothing.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret compile\'' -l explain -d 'Say what changed for each job.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret compile\'' -l strict -d 'Let quarantine-only blueprints count for the exit code.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret compile\'' -l oona-url -f -r -d 'Send telemetry to this Redis, too. [default: nowhere]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret compile\'' -l output-format -f -a '\'text\' \'json\' \'github\' \'junit\'' -r -d 'text, json, github (annotations and a step summary), or junit (XML). [default: text]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret compile\'' -l json -d 'Print one JSON report on stdout.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret compile\'' -l quiet -s q -d 'Only errors.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret compile\'' -l verbose -s v -d 'Say more; -vv also tracebacks.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret compile\'' -l help -s h -d 'Show this message and exit.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret resume\'' -l store -f -a '(__fish_complete_directories (commandline -ct | string replace -r -- \'^--[^=]*=\' \'\'))' -r -d 'Where bundles are published. [env: TEZZERET_STORE]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret resume\'' -l state -f -a '(__fish_complete_directories (commandline -ct | string replace -r -- \'^--[^=]*=\' \'\'))' -r -d 'Journals of runs, on a local disk. [default: $XDG_STATE_HOME/tezzeret]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret resume\'' -l run -f -r -d 'Only this run. [default: all that died, oldest first]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret resume\'' -l list -d 'List the runs that did not end.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret resume\'' -l abandon -f -r -d 'Give this run up; what it published stays.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret resume\'' -l dry-run -d 'Show what would be done; write nothing.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret resume\'' -l accept-tail-loss -d 'Go on where the last record of a journal is unreadable, without it.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret resume\'' -l oona-url -f -r -d 'Send telemetry to this Redis, too. [default: nowhere]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret resume\'' -l identity-token -f -r -d 'OIDC token for keyless signing. [default: what the environment offers]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret resume\'' -l output-format -f -a '\'text\' \'json\' \'github\' \'junit\'' -r -d 'text, json, github (annotations and a step summary), or junit (XML). [default: text]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret resume\'' -l json -d 'Print one JSON report on stdout.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret resume\'' -l quiet -s q -d 'Only errors.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret resume\'' -l verbose -s v -d 'Say more; -vv also tracebacks.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret resume\'' -l help -s h -d 'Show this message and exit.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret gc\'' -l store -f -a '(__fish_complete_directories (commandline -ct | string replace -r -- \'^--[^=]*=\' \'\'))' -r -d 'Where bundles are published. [env: TEZZERET_STORE]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret gc\'' -l ttl -f -r -d 'Remove bundles unused for longer, such as 30d or 12h.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret gc\'' -l keep -f -r -d 'Keep the N newest of each lineage; alone, remove the older ones.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret gc\'' -l max-size -f -r -d 'Then remove the least recently used until all bundles fit.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret gc\'' -l pin -f -r -d 'Never remove these: BP023, BP023/1.0.0 or a glob; repeatable. Also a line each in the file pins of the store.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret gc\'' -l cache-ttl -f -r -d 'Remove compiled headers and objects unused for longer. [default: 30d]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret gc\'' -l journal-ttl -f -r -d 'Remove journals and telemetry older than that. [default: 90d]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret gc\'' -l cache -f -a '(__fish_complete_directories (commandline -ct | string replace -r -- \'^--[^=]*=\' \'\'))' -r -d 'Compiled headers and scratch. [default: $XDG_CACHE_HOME/tezzeret]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret gc\'' -l state -f -a '(__fish_complete_directories (commandline -ct | string replace -r -- \'^--[^=]*=\' \'\'))' -r -d 'Journals of runs, on a local disk. [default: $XDG_STATE_HOME/tezzeret]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret gc\'' -l dry-run -d 'Show what would go, and why; write nothing.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret gc\'' -l oona-url -f -r -d 'Send telemetry to this Redis, too. [default: nowhere]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret gc\'' -l json -d 'Print one JSON report on stdout.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret gc\'' -l quiet -s q -d 'Only errors.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret gc\'' -l verbose -s v -d 'Say more; -vv also tracebacks.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret gc\'' -l help -s h -d 'Show this message and exit.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret prewarm\' \'*\'' -F
complete -c tezzeret -n '__tezzeret_at \'tezzeret prewarm\'' -l store -f -a '(__fish_complete_directories (commandline -ct | string replace -r -- \'^--[^=]*=\' \'\'))' -r -d 'Where bundles are published. [env: TEZZERET_STORE]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret prewarm\'' -l state -f -a '(__fish_complete_directories (commandline -ct | string replace -r -- \'^--[^=]*=\' \'\'))' -r -d 'Journals of runs, on a local disk. [default: $XDG_STATE_HOME/tezzeret]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret prewarm\'' -l device -f -a '\'cpu\' \'cuda\'' -r -d 'cpu, cuda or cuda:N. [default: what each bundle is built for]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret prewarm\'' -l jobs -s j -f -r -d 'Bundles at once; more disturb the times. [default: 1]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret prewarm\'' -l repeat -f -r -d 'Timed steps of each variant. [default: 20]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret prewarm\'' -l max-regression -f -r -d 'Fail for a bundle that is slower than its record by more, such as 20%.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret prewarm\'' -l key -F -r -d 'Public key to trust, instead of those in trusted-keys.d; repeatable.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret prewarm\'' -l cert-identity -f -r -d 'Identity that must have signed: an address or URI.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret prewarm\'' -l cert-oidc-issuer -f -r -d 'Issuer that must have vouched for the identity.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret prewarm\'' -l trusted-root -F -r -d 'Trusted root (JSON) of the Sigstore instance.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret prewarm\'' -l allow-factory -f -r -d 'Also run eager code of factories that match, to compare with; repeatable. [default: the built-in ones]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret prewarm\'' -l oona-url -f -r -d 'Send telemetry to this Redis, too. [default: nowhere]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret prewarm\'' -l output-format -f -a '\'text\' \'json\' \'github\' \'junit\'' -r -d 'text, json, github (annotations and a step summary), or junit (XML). [default: text]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret prewarm\'' -l json -d 'Print one JSON report on stdout.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret prewarm\'' -l quiet -s q -d 'Only errors.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret prewarm\'' -l verbose -s v -d 'Say more; -vv also tracebacks.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret prewarm\'' -l help -s h -d 'Show this message and exit.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret stats\'' -l store -f -a '(__fish_complete_directories (commandline -ct | string replace -r -- \'^--[^=]*=\' \'\'))' -r -d 'Where bundles are published. [env: TEZZERET_STORE]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret stats\'' -l since -f -r -d 'Only what ended since then: 7d, 12h or 2026-01-31. [default: all]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret stats\'' -l format -f -a '\'table\' \'json\' \'prometheus\'' -r -d 'table, json or prometheus. [default: table]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret stats\'' -l output -F -r -d 'Replace this file at once, instead of printing.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret stats\'' -l watch -d 'Show it again and again until Ctrl-C.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret stats\'' -l interval -f -r -d 'How often, with --watch. [default: 2]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret stats\'' -l cache -f -a '(__fish_complete_directories (commandline -ct | string replace -r -- \'^--[^=]*=\' \'\'))' -r -d 'Compiled headers and scratch. [default: $XDG_CACHE_HOME/tezzeret]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret stats\'' -l state -f -a '(__fish_complete_directories (commandline -ct | string replace -r -- \'^--[^=]*=\' \'\'))' -r -d 'Journals of runs, on a local disk. [default: $XDG_STATE_HOME/tezzeret]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret stats\'' -l json -d 'Print one JSON report on stdout.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret stats\'' -l help -s h -d 'Show this message and exit.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret verify\' \'*\'' -F
complete -c tezzeret -n '__tezzeret_at \'tezzeret verify\'' -l store -f -a '(__fish_complete_directories (commandline -ct | string replace -r -- \'^--[^=]*=\' \'\'))' -r -d 'Where bundles are published. [env: TEZZERET_STORE]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret verify\'' -l key -F -r -d 'Public key to trust, instead of those in trusted-keys.d; repeatable.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret verify\'' -l cert-identity -f -r -d 'Identity that must have signed: an address or URI.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret verify\'' -l cert-oidc-issuer -f -r -d 'Issuer that must have vouched for the identity.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret verify\'' -l trusted-root -F -r -d 'Trusted root (JSON) of the Sigstore instance.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret verify\'' -l expect-id -f -r -d 'Blueprint that each bundle must be of.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret verify\'' -l expect-version -f -r -d 'Version, with or without its lineage.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret verify\'' -l expect-digest -f -r -d 'sha256 of the manifest, in hex.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret verify\'' -l load -d 'Also load each bundle in a fresh process, and compare with eager.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret verify\'' -l jobs -s j -f -r -d 'Processes at once. [default: cores]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret verify\'' -l state -f -a '(__fish_complete_directories (commandline -ct | string replace -r -- \'^--[^=]*=\' \'\'))' -r -d 'Journals of runs, on a local disk. [default: $XDG_STATE_HOME/tezzeret]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret verify\'' -l oona-url -f -r -d 'Send telemetry to this Redis, too. [default: nowhere]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret verify\'' -l output-format -f -a '\'text\' \'json\' \'github\' \'junit\'' -r -d 'text, json, github (annotations and a step summary), or junit (XML). [default: text]'
complete -c tezzeret -n '__tezzeret_at \'tezzeret verify\'' -l json -d 'Print one JSON report on stdout.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret verify\'' -l quiet -s q -d 'Only errors.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret verify\'' -l verbose -s v -d 'Say more; -vv also tracebacks.'
complete -c tezzeret -n '__tezzeret_at \'tezzeret verify\'' -l help -s h -d 'Show this message and exit.'
