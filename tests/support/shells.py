"""Ask real shells what they would complete."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

BASH = """
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_tezzeret tezzeret "${COMP_WORDS[COMP_CWORD]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""

ZSH = """
zmodload zsh/zpty
zpty inner zsh -f -i
zpty -w inner "source ${(q)1}"
zpty -r inner ignored '*ready*'
zpty -n -w inner "$2"$'\\t'
while zpty -r inner ignored; do :; done
"""

ZSH_INNER = """
fpath=({folder} $fpath)
autoload -Uz compinit
compinit -D -u
zstyle ':completion:*' completer _complete
bindkey '^I' complete-word
compadd() {{
    if [[ ${{@[1,(i)(-|--)]}} == *-(O|A|D)\\ * ]]; then
        builtin compadd "$@"
        return
    fi
    local -a hits
    builtin compadd -A hits "$@"
    (( $#hits )) && print -rl -- $hits >>{answer}
    builtin compadd "$@"
}}
leave() {{ exit 0 }}
comppostfuncs=(leave)
print rea''dy
"""


def completed_by_bash(script: Path, line: str, cwd: Path) -> list[str]:
    """readline hands ``--store=x`` over as three words."""
    words = [part for word in line.split(" ") for part in (re.split("(=)", word) if "=" in word else [word])]
    if words[-2:] == ["=", ""]:
        words.pop()
    return _run(["bash", "--norc", "--noprofile", "-c", BASH, "bash", str(script), *words], cwd)


def completed_by_zsh(script: Path, line: str, cwd: Path) -> list[str]:
    """A Tab in an interactive zsh; what the completion system is given ends up in a file."""
    room = cwd.parent / "zsh"
    room.mkdir(exist_ok=True)
    answer = room / "answer"
    answer.write_text("")
    (room / "inner").write_text(ZSH_INNER.format(folder=script.parent, answer=answer))
    _run(["zsh", "-f", "-c", ZSH, "zsh", str(room / "inner"), line], cwd)
    return [found.removesuffix("=") for found in answer.read_text().splitlines()]


def completed_by_fish(script: Path, line: str, cwd: Path) -> list[str]:
    command = ["fish", "--no-config", "-c", 'source $argv[1]; complete -C "$argv[2]"', str(script), line]
    found = [answer.partition("\t")[0] for answer in _run(command, cwd)]
    return [re.sub(r"^--\w+=", "", answer) for answer in found]


def _run(command: list[str], cwd: Path) -> list[str]:
    environment = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    environment |= {"HOME": str(cwd.parent), "TERM": "dumb"}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    return [line for line in done.stdout.splitlines() if line]
