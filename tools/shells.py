"""Completion scripts for bash, zsh and fish. They know the command line and start no process to ask it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from command_line import Command, Parameter

NOTE = "# Made by tools/make_manual.py from the command line's definition; changes here are lost."


def bash(root: Command) -> str:
    """For bash 4.4 and newer, with or without the bash-completion package."""
    name = root.words[0]
    enter, takes_value, values, options, arguments = [], [], [], [], []
    for command in root.every():
        at = " ".join(command.words)
        for below in command.commands:
            enter.append(f"{_bash(f'{at}|{below.words[-1]}')}) at={_bash(' '.join(below.words))} count=0 ;;")
        for option in command.options:
            if option.metavar:
                spelled = " | ".join(_bash(f"{at}|{spelling}") for spelling in option.spellings)
                takes_value.append(f"{spelled}) option=$word ;;")
                if offered := _bash_value(option, name):
                    values.append(f"{spelled}) {offered} ;;")
        spellings = " ".join(s for option in command.options for s in option.spellings)
        options.append(f'{_bash(at)}) _{name}_offer "$current" {spellings} ;;')
        if command.commands:
            words = " ".join(below.words[-1] for below in command.commands)
            arguments.append(f'{_bash(f"{at}|0")}) _{name}_offer "$current" {words} ;;')
        for number, argument in _places(command):
            if offered := _bash_value(argument, name):
                arguments.append(f"{_bash(f'{at}|')}{number}) {offered} ;;")
    walk = "\n            ".join([*enter, *takes_value])
    return f"""\
# Completion of {name} for bash.
{NOTE}

_{name}_offer() {{
    local current=$1 word
    shift
    for word; do
        if [[ $word == "$current"* ]]; then
            COMPREPLY+=("$word")
        fi
    done
}}

_{name}_paths() {{
    mapfile -t COMPREPLY < <(compgen "$1" -- "$2")
    compopt -o filenames 2>/dev/null
}}

_{name}() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} at={_bash(name)} option='' rest='' count=0 word i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${{COMP_WORDS[i]}}
        if [[ -n $option ]]; then
            [[ $word == = ]] || option=''
            continue
        fi
        case "${{rest:-$at}}|$word" in
            {walk}
            '--|'*) ((count += 1)) ;;
            *'|--') rest=-- ;;
            *'|-'?*) ;;
            *) ((count += 1)) ;;
        esac
    done
    if [[ -n $option ]]; then
        [[ $current == = ]] && current=''
        case "$at|$option" in
            {_lines(values)}
        esac
    elif [[ -z $rest && $current == -* ]]; then
        case $at in
            {_lines(options)}
        esac
    else
        case "$at|$count" in
            {_lines(arguments)}
        esac
    fi
    return 0
}}

complete -F _{name} {name}
"""


def zsh(root: Command) -> str:
    """An autoloaded completion function; works sourced as well, after ``compinit``."""
    name = root.words[0]
    functions = "\n\n".join(_zsh_function(command) for command in root.every())
    return f"""\
#compdef {name}
# Completion of {name} for zsh.
{NOTE}

{functions}

if [[ $funcstack[1] == _{name} ]]; then
    _{name} "$@"
else
    compdef _{name} {name}
fi
"""


def fish(root: Command) -> str:
    """For fish 3.0 and newer."""
    name = root.words[0]
    walk, rules = [], []
    for command in root.every():
        at = " ".join(command.words)
        here = f"complete -c {name} -n {_fish(f'__{name}_at {_fish(at)}')}"
        for below in command.commands:
            walk += [
                f"case {_fish(f'{at}|{below.words[-1]}')}",
                f"    set at {_fish(' '.join(below.words))}",
                "    set count 0",
            ]
            first = f"complete -c {name} -n {_fish(f'__{name}_at {_fish(at)} 0')}"
            rules.append(f"{first} -a {below.words[-1]} -d {_fish(below.summary)}")
        valued = [f"{at}|{s}" for option in command.options if option.metavar for s in option.spellings]
        if valued:
            walk += [f"case {' '.join(map(_fish, valued))}", "    set skip 1"]
        for number, argument in _places(command):
            place = f"complete -c {name} -n {_fish(f'__{name}_at {_fish(at)} {_fish(number)}')}"
            if offered := _fish_value(argument):
                rules.append(f"{place} {offered}")
        for option in command.options:
            spelled = " ".join(
                f"-l {s[2:]}" if s.startswith("--") else f"-s {s[1:]}" for s in option.spellings
            )
            value = (_fish_value(option) or "-f") + " -r" if option.metavar else ""
            rules.append(" ".join(filter(None, (here, spelled, value, f"-d {_fish(option.help)}"))))
    cases = "\n            ".join(walk)
    return f"""\
# Completion of {name} for fish.
{NOTE}

# Whether the cursor is in this command, and in one of its arguments of this number.
function __{name}_at
    set -l at {_fish(name)}
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
            {cases}
            case '*|-*'
            case '*'
                set count (math $count + 1)
        end
    end
    test "$at" = "$argv[1]"; and string match -q -- "$argv[2]*" $count
end

complete -c {name} -f
{chr(10).join(rules)}
"""


def _places(command: Command) -> Iterator[tuple[str, Parameter]]:
    """The arguments with their numbers from 0; ``*`` for all that are left."""
    number = 0
    for argument in command.arguments:
        if argument.repeatable:
            yield "*", argument
            return
        for _ in range(argument.count):
            yield str(number), argument
            number += 1


def _lines(cases: list[str]) -> str:
    return "\n            ".join(cases or ["*) ;;"])


def _bash(text: str) -> str:
    return shlex.quote(text)


def _bash_value(parameter: Parameter, name: str) -> str:
    if parameter.path:
        return f'_{name}_paths {"-d" if parameter.path == "directory" else "-f"} "$current"'
    words = " ".join(shlex.quote(value) for value in parameter.values)
    return f'_{name}_offer "$current" {words}' if words else ""


def _zsh_function(command: Command) -> str:
    function = _zsh_name(command)
    specs = [spec for option in command.options for spec in _zsh_option(option)]
    if not command.commands:
        specs += [
            _quoted(f"{number if number == '*' else int(number) + 1}:{_zsh_value(argument)}")
            for number, argument in _places(command)
        ]
        body = " \\\n        ".join(["_arguments -s -S", *specs])
        return f"{function}() {{\n    local -A opt_args\n    {body}\n}}"
    specs += ["'1:command:->command'", "'*::argument:->rest'"]
    body = " \\\n        ".join(["_arguments -C -s -S", *specs])
    words = "\n                ".join(
        _quoted(f"{below.words[-1]}:{_zsh_escaped(below.summary)}") for below in command.commands
    )
    calls = "\n                ".join(
        f"{below.words[-1]}) {_zsh_name(below)} && done=0 ;;" for below in command.commands
    )
    return f"""\
{function}() {{
    local curcontext=$curcontext context state state_descr line done=1
    local -a commands
    local -A opt_args
    {body} && done=0
    case $state in
        command)
            commands=(
                {words}
            )
            _describe -t commands command commands && done=0
            ;;
        rest)
            case $words[1] in
                {calls}
            esac
            ;;
    esac
    return done
}}"""


def _zsh_name(command: Command) -> str:
    return "_" + "_".join(re.sub(r"\W", "_", word) for word in command.words)


def _zsh_option(option: Parameter) -> Iterator[str]:
    alone = "*" if option.repeatable else f"({' '.join(option.spellings)})"
    for spelling in option.spellings:
        if option.metavar:
            end = "=" if spelling.startswith("--") else "+"
            yield _quoted(f"{alone}{spelling}{end}[{_zsh_escaped(option.help)}]:{_zsh_value(option)}")
        else:
            yield _quoted(f"{alone}{spelling}[{_zsh_escaped(option.help)}]")


def _zsh_value(parameter: Parameter) -> str:
    title = _zsh_escaped(parameter.metavar)
    if parameter.path:
        return f"{title}:{'_files -/' if parameter.path == 'directory' else '_files'}"
    words = " ".join(re.sub(r"([\\:\s()'\"$`])", r"\\\1", value) for value in parameter.values)
    return f"{title}:({words})" if words else f"{title}: "


def _zsh_escaped(text: str) -> str:
    return re.sub(r"([\\\[\]:$`])", r"\\\1", text)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _fish(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _fish_value(parameter: Parameter) -> str:
    if parameter.path == "directory":
        typed = "(commandline -ct | string replace -r -- '^--[^=]*=' '')"
        return f"-f -a {_fish(f'(__fish_complete_directories {typed})')}"
    if parameter.path:
        return "-F"
    words = " ".join(_fish(value) for value in parameter.values)
    return f"-f -a {_fish(words)}" if words else ""
