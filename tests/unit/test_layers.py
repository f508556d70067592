"""The architecture as a test: imports only go down, and heavy libraries stay in their places."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "tezzeret_cli"

LAYERS = (
    ("cli",),
    ("ops",),
    ("telemetry", "worker"),
    ("runtime", "store", "runs", "health", "host"),
    ("wal", "trust"),
    ("plan", "keys"),
    ("approvals", "profile", "settings", "strategies"),
    ("inputs",),
    ("blueprints", "leyline", "bundle"),
    ("isa",),
    ("model",),
    ("errors", "files", "quantiles"),
)
"""Top to bottom. A module imports from its own room and from lower layers."""

RANK = {room: rank for rank, rooms in enumerate(LAYERS) for room in rooms}

CHILD = (
    *(
        "beside_eager",
        "build",
        "capture",
        "convolutions",
        "lines",
        "lower",
        "prewarm",
        "private",
        "private_inductor",
        "private_imports",
        "private_indices",
        "private_openmp",
        "private_sizes",
        "prove",
        "reference",
        "rehearse",
        "shapes",
    ),
    *("subject", "symbols"),
)
TORCH_HOMES = ("blueprints", "runtime", *(f"worker/{name}.py" for name in CHILD))

PRIVATE = (
    "runtime/private.py",
    "worker/private.py",
    "worker/private_inductor.py",
    "worker/private_imports.py",
    "worker/private_indices.py",
    "worker/private_openmp.py",
    "worker/private_sizes.py",
)


def modules() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if not path.name.endswith("_pb2.py")]


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", modules(), ids=relative)
def test_imports_go_down(path):
    own = room(path)
    if own in ("__init__", "__main__"):
        return
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "tezzeret_cli" and len(parts) > 1 and parts[1] in RANK and parts[1] != own:
            assert RANK[parts[1]] > RANK[own], f"{relative(path)} imports {name} from above or beside"


@pytest.mark.parametrize("path", modules(), ids=relative)
def test_torch_is_imported_only_where_modules_are_built_and_run(path):
    if relative(path).startswith(TORCH_HOMES):
        return
    assert not {name for name in imported(path) if name.partition(".")[0] in ("torch", "safetensors")}


@pytest.mark.parametrize("path", modules(), ids=relative)
def test_torchs_private_modules_are_used_in_their_files_only(path):
    if relative(path) in PRIVATE:
        return
    source = path.read_text()
    private = (
        "torch._dynamo",
        "torch._inductor",
        "torch._functorch",
        "torch._C",
        "torch._guards",
        "torch._ops",
    )
    assert not [name for name in private if name in source]


@pytest.mark.parametrize("path", modules(), ids=relative)
def test_typer_stays_in_the_shell_and_rich_where_things_are_shown(path):
    names = {name.partition(".")[0] for name in imported(path)}
    if room(path) != "cli":
        assert "typer" not in names
    if room(path) not in ("cli", "telemetry"):
        assert "rich" not in names


@pytest.mark.parametrize("path", modules(), ids=relative)
def test_a_file_can_be_read_at_one_sitting(path):
    assert len(path.read_text().splitlines()) <= 420


def test_every_module_stands_in_the_design_document():
    design = (PACKAGE.parent / "DESIGN.md").read_text()
    missing = [relative(p) for p in modules() if p.name != "__init__.py" and f"`{relative(p)}`" not in design]
    assert missing == []
