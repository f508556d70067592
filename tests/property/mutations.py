"""Mutated bundles: bytes, JSON and files changed at random, from a seed."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

Files = dict[str, bytes]

WORDS = (
    *(None, True, False, 0, -1, 1 << 62, 1e308, 0.5, "", "x", "../x", "/etc/passwd", [], {}, "\0", "é"),
    *("manifest.json", "bundle.sigstore.json", "sha256", "zstd", "none", "key", "AAAA"),
)
NAMES = ("extra", "format", "subject", "certificate", "messageSignature")
TOKENS = (
    b"NaN",
    b"1e999",
    b"{",
    b"}",
    b"[[[[",
    b'"',
    b",",
    b"\\u0000",
    b"\xff",
    b" ",
    b"\n",
    b"null",
    b'"a":1,',
)


def mutated(rng: random.Random, original: Files) -> Files:
    """One to three changes to a copy of a bundle's files."""
    files = dict(original)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        rng.choice((_bytes, _bytes, _json, _json, _json, _files))(rng, files)
    return files


def _bytes(rng: random.Random, files: Files) -> None:
    name = rng.choice(sorted(files))
    data = bytearray(files[name])
    at = rng.randrange(len(data) + 1)
    match rng.randrange(6):
        case 0 if data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        case 1:
            del data[at:]
        case 2:
            data[at:at] = rng.choice(TOKENS)
        case 3:
            del data[at : at + rng.randrange(1, 20)]
        case 4:
            data += rng.choice((b"\0", b"{}", b"\n", b" ", bytes(data[:50])))
        case _:
            other = rng.randrange(len(data) + 1)
            data[at:at] = data[other : other + 40]
    files[name] = bytes(data)


def _json(rng: random.Random, files: Files) -> None:
    name = rng.choice(("manifest.json", "bundle.sigstore.json"))
    try:
        value = json.loads(files.get(name, b""))
    except (ValueError, RecursionError):
        return
    places = list(_places(value))
    if not places:
        return
    holder, key = rng.choice(places)
    match rng.randrange(5):
        case 0:
            holder[key] = copy.deepcopy(rng.choice(WORDS))
        case 1:
            del holder[key]
        case 2:
            other, there = rng.choice(places)
            holder[key] = copy.deepcopy(other[there])
        case 3 if isinstance(holder, dict):
            holder[rng.choice(NAMES)] = copy.deepcopy(rng.choice(WORDS))
        case _:
            if isinstance(holder, list):
                holder.append(copy.deepcopy(holder[key]))
            elif isinstance(holder[key], str):
                holder[key] += rng.choice(("x", "=", "\n", " "))
    files[name] = json.dumps(value, separators=rng.choice(((",", ":"), (", ", ": ")))).encode()


def _files(rng: random.Random, files: Files) -> None:
    name = rng.choice(sorted(files))
    match rng.randrange(4):
        case 0:
            files.pop(name)
            files.setdefault("manifest.json", b"")
        case 1:
            files[rng.choice((".git", "extra", "lib/extra.so", "Manifest.json"))] = b""
        case 2:
            other = rng.choice(sorted(files))
            files[name], files[other] = files[other], files[name]
        case _:
            files[f"{name}x"] = files.pop(name)
            files.setdefault("manifest.json", b"")


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every holder and key in nested lists and dicts."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(items):
        yield value, key
        yield from _places(item)
