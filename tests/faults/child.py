"""Appends to a journal until it is killed; says what was acknowledged, a line each.

``python -m tests.faults.child FOLDER``
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.support.logs import History, recover
from tezzeret_cli.wal.writer import Options


def main(folder: Path) -> None:
    journal, found = recover(folder, options=Options(segment_bytes=6000))
    history = History(known=found)
    while True:
        for count in (1, 4, 2):
            history.append(journal, count, size=300)
            os.write(1, b"%d\n" % len(history.known))
        if len(history.known) % 3 == 0:
            journal.compact(history.known)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
