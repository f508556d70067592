"""Find a blueprint's factory and say what its source is, without importing it."""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib.machinery
import importlib.metadata
import importlib.util
import os
import re
from pathlib import Path

from tezzeret_cli.blueprints.registry import BUILTIN
from tezzeret_cli.errors import FactoryError
from tezzeret_cli.model.descriptor import Descriptor
from tezzeret_cli.model.job import Factory

ENTRY_POINTS = "tezzeret.blueprints"
_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_OWN = Path(__file__).parent
_HERE = "tezzeret_cli.blueprints."


class Resolver:
    """Resolves factories; what it has read once it keeps for its own lifetime."""

    def __init__(self) -> None:
        self._digests: dict[str, str] = {}
        self._there: set[str] = set()
        self._distributions: dict[str, list[str]] | None = None
        self._entry_points: dict[str, str] | None = None

    def resolve(self, descriptor: Descriptor, path: str | None = None) -> Factory:
        """The factory of ``descriptor``: ``path`` if given, else an entry point named after its id or
        name, else the built-in one of its name.

        Raises ``FactoryError`` when there is none, or its source cannot be found.
        """
        builtin = BUILTIN.get(descriptor.name)
        found = path or self._entry_point(descriptor)
        if found is None and builtin is not None:
            return Factory(builtin.path, self._builtin_digest(builtin.path), builtin=True)
        if found is None:
            raise FactoryError(
                f"{descriptor.blueprint_id}: no blueprint is called {descriptor.name!r}",
                advice='name a factory = "package.module:function" for it in a profile',
            )
        if not _PATH.fullmatch(found):
            raise FactoryError(
                f"{descriptor.blueprint_id}: {found!r} is not a factory",
                advice='write it as "package.module:function"',
            )
        if builtin is not None and found == builtin.path:
            return Factory(found, self._builtin_digest(found), builtin=True)
        top = found.partition(":")[0].partition(".")[0]
        if top not in self._digests:
            self._digests[top] = _source_digest(descriptor.blueprint_id, found, top)
        if found not in self._there:
            _look_for(descriptor.blueprint_id, found)
            self._there.add(found)
        return Factory(found, self._digests[top], distribution=self._distribution(top))

    def _entry_point(self, descriptor: Descriptor) -> str | None:
        if self._entry_points is None:
            points = importlib.metadata.entry_points(group=ENTRY_POINTS)
            self._entry_points = {point.name: point.value for point in points}
        found = self._entry_points
        return found.get(descriptor.blueprint_id) or found.get(descriptor.name)

    def _builtin_digest(self, path: str) -> str:
        family = path.partition(":")[0].rpartition(".")[2]
        if family not in self._digests:
            self._digests[family] = _digest([(name, _OWN / name) for name in _with_helpers(f"{family}.py")])
        return self._digests[family]

    def _distribution(self, top: str) -> str | None:
        if self._distributions is None:
            self._distributions = {k: list(v) for k, v in importlib.metadata.packages_distributions().items()}
        names = self._distributions.get(top, [])
        return f"{names[0]}=={importlib.metadata.version(names[0])}" if names else None


def _with_helpers(name: str) -> list[str]:
    """A family's file and the files beside it that it imports, directly or not."""
    found: list[str] = []
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current in found:
            continue
        found.append(current)
        source = (_OWN / current).read_bytes()
        if _HERE.encode() not in source:
            continue  # parsing takes longer than all else here
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(_HERE):
                waiting.append(f"{(node.module or '').rpartition('.')[2]}.py")
    return sorted(found)


def _source_digest(blueprint_id: str, path: str, top: str) -> str:
    """sha256 over the names and contents of the Python files of the top-level package or module."""
    spec = _find_top_level(top)
    if spec is None or (spec.origin is None and not spec.submodule_search_locations):
        raise FactoryError(
            f"{blueprint_id}: the factory {path} is not there: no module named {top!r}",
            advice="install its package, or run from the folder that holds it",
        )
    if spec.submodule_search_locations:
        roots = [Path(location) for location in spec.submodule_search_locations]
        pairs = [
            (file.relative_to(root).as_posix(), file) for root in roots for file in sorted(root.rglob("*.py"))
        ]
        return _digest(pairs)
    assert spec.origin is not None
    return _digest([(Path(spec.origin).name, Path(spec.origin))])


def _look_for(blueprint_id: str, path: str) -> None:
    """Raises ``FactoryError`` where there is no such module below its package, or where the module's source
    gives nothing that name."""
    module, _, function = path.partition(":")
    top, *below = module.split(".")
    spec = _find_top_level(top)
    for part in below:
        folders = spec.submodule_search_locations if spec is not None else None
        spec = importlib.machinery.PathFinder.find_spec(part, folders) if folders is not None else None
    if spec is None:
        raise FactoryError(
            f"{blueprint_id}: the factory {path} is not there: no module named {module!r}",
            advice="look at the name of the module",
        )
    if spec.origin is None or not spec.origin.endswith(".py"):
        return
    text = Path(spec.origin).read_bytes()
    if re.search(rf"^(?:async\s+def|def|class)\s+{function}\b|^{function}\s*[:=]".encode(), text, re.M):
        return  # parsing takes a hundred times as long
    try:
        names = _names(ast.parse(text))
    except SyntaxError as error:
        raise FactoryError(
            f"{blueprint_id}: the factory {path} does not import: "
            f"{spec.origin}, line {error.lineno}: {error.msg}"
        ) from None
    if function not in names and _ANY not in names:
        close = difflib.get_close_matches(function, names, 1)
        raise FactoryError(
            f"{blueprint_id}: the factory {path} is not there: {spec.origin} has no {function!r}",
            advice=f"did you mean {module}:{close[0]}?" if close else "look at the name of the function",
        )


_ANY = "*"


def _names(module: ast.AST) -> set[str]:
    """What a module's source gives a name, wherever in it; ``_ANY`` where it may have others."""
    found: set[str] = set()
    for node in ast.walk(module):
        match node:
            case ast.FunctionDef(name="__getattr__") | ast.Attribute(attr="modules") | ast.alias(name="*"):
                found.add(_ANY)
            case ast.Name(id="globals" | "vars" | "locals" | "exec" | "setattr"):
                found.add(_ANY)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
            case ast.alias(name=name, asname=other):
                found.add(other or name.partition(".")[0])
    return found


def _find_top_level(top: str) -> importlib.machinery.ModuleSpec | None:
    here = importlib.machinery.PathFinder.find_spec(top, [os.getcwd()])
    if here is not None and here.origin != "namespace":
        return here
    try:
        return importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None


def _digest(pairs: list[tuple[str, Path]]) -> str:
    total = hashlib.sha256()
    for name, path in pairs:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{name}\0{content}\n".encode())
    return total.hexdigest()
