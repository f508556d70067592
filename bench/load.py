"""Load to first gradient in a fresh process: a bundle, and the stock ways to ship compiled code.

``python -m bench.load [--repeat N] [ID]... [--stock ID...] [--json FILE]`` measures every bundle of the
store, or those named, in N fresh processes of each kind (five): one that did nothing before, and one that
trains a linear layer already, as a host does that a bundle is grafted into. Beside it, what the first step
of the eager module takes in a fresh process, once it is built. The stock ways take half a minute for each
module, so they are measured for the ids after ``--stock`` only.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from bench.support import BLOCK, Figures, bundles, consumer, measuring, option

REPEAT = 5

BUNDLE = """
import json, sys, time
started = time.perf_counter()
import torch
torch_ms = (time.perf_counter() - started) * 1e3
started = time.perf_counter()
import tezzeret_cli.runtime
import safetensors.torch
own_ms = (time.perf_counter() - started) * 1e3
from pathlib import Path
from tezzeret_cli.bundle.read import read_manifest
from tezzeret_cli.worker.reference import leaves, wait_for
manifest = read_manifest(Path(sys.argv[1]))[0]
device = torch.device(manifest.target.device)
started = time.perf_counter()
if device.type == "cuda":
    torch.ones(8, device=device).add_(1).sum().item()
context_ms = (time.perf_counter() - started) * 1e3
guards = [g for g in manifest.guard_spec if g.variant == 0 and g.kind == "input"]
def size(e):
    return e if isinstance(e, int) else e.factor * min(8, e.max)
inputs = [
    torch.zeros([size(e) for e in g.shape], dtype=getattr(torch, g.dtype), device=device) for g in guards
]
inputs = [x.normal_().requires_grad_() if x.is_floating_point() else x for x in inputs] or [
    torch.randn(8, 64, requires_grad=True)
]
if "training" in sys.argv:
    host = torch.nn.Linear(64, 64, device=device)
    for _ in range(3):
        host(torch.randn(8, 64, device=device)).sum().backward()
wait_for(device)
started = time.perf_counter()
module = tezzeret_cli.load(sys.argv[1], on_guard_miss="raise")
loaded = time.perf_counter()
outputs = [t for t in leaves(module(*inputs)) if t is not None and t.requires_grad]
wait_for(device)
forward = time.perf_counter()
sum(t.sum() for t in outputs).backward()
wait_for(device)
done = time.perf_counter()
print(json.dumps({"load": (loaded - started) * 1e3, "forward": (forward - loaded) * 1e3,
    "backward": (done - forward) * 1e3, "total": (done - started) * 1e3,
    "import_torch": torch_ms, "import_tezzeret": own_ms, "context": context_ms}))
"""

MODULE = """
import json, sys, time
import torch
from pathlib import Path
from tezzeret_cli.bundle.read import read_manifest
from tezzeret_cli.blueprints.construct import construct
from tezzeret_cli.worker.reference import wait_for
manifest = read_manifest(Path(sys.argv[1]))[0]
device = torch.device(manifest.target.device)
torch.manual_seed(0)
module, calls = construct(manifest.factory, manifest.parameters)
module.to(device)
inputs = [x.to(device) for x in calls[0]]
inputs = [x.requires_grad_() if x.is_floating_point() else x for x in inputs]
torch.ones(8, device=device).add_(1).sum().item()
def step(f):
    out = f(*inputs)
    outputs = out if isinstance(out, tuple) else (out,)
    sum(t.sum() for t in outputs).backward()
    wait_for(device)
"""

EAGER = (
    MODULE
    + """
started = time.perf_counter()
step(module)
print(json.dumps({"total": (time.perf_counter() - started) * 1e3}))
"""
)

SAVE_MEGA = (
    MODULE
    + """
step(torch.compile(module))
data, _ = torch.compiler.save_cache_artifacts()
Path(sys.argv[2]).write_bytes(data)
print(json.dumps({"bytes": len(data)}))
"""
)

LOAD_MEGA = (
    MODULE
    + """
started = time.perf_counter()
torch.compiler.load_cache_artifacts(Path(sys.argv[2]).read_bytes())
step(torch.compile(module))
print(json.dumps({"total": (time.perf_counter() - started) * 1e3}))
"""
)

WRAPPED = (
    MODULE
    + BLOCK
    + """
block = Block(module)
"""
)

SAVE_FUNCTION = (
    WRAPPED
    + """
compiled = torch.compile(block, fullgraph=True).forward.aot_compile((tuple(inputs), {}))
compiled.save_compiled_function(sys.argv[2], external_data={"block": block})
print(json.dumps({"bytes": Path(sys.argv[2]).stat().st_size}))
"""
)

LOAD_FUNCTION = (
    WRAPPED
    + """
started = time.perf_counter()
with open(sys.argv[2], "rb") as file:
    loaded = torch.compiler.load_compiled_function(file, external_data={"block": block})
step(lambda *args: loaded(block, *args))
print(json.dumps({"total": (time.perf_counter() - started) * 1e3}))
"""
)

STOCK = {
    "mega-cache": (SAVE_MEGA, LOAD_MEGA),
    "load_compiled_function": (SAVE_FUNCTION, LOAD_FUNCTION),
}


COLUMNS = ("load", "forward", "backward", "total", "import_torch", "import_tezzeret")


def main(args: list[str]) -> None:
    with measuring("load", args) as figures:
        repeat = int(option(args, "--repeat", str(REPEAT)))
        split = args.index("--stock") if "--stock" in args else len(args)
        compare(figures, args[:split], set(args[split + 1 :]), repeat)


def compare(figures: Figures, wanted: list[str], stock: set[str], repeat: int) -> None:
    print("blueprint", *COLUMNS, "in training", "eager's first step", "stock: ms (times slower)", sep="\t")
    totals, hosted = [], []
    for path, manifest in bundles(wanted):
        runs = [consumer(BUNDLE, str(path)) for _ in range(repeat)]
        median = {key: statistics.median(run[key] for run in runs) for key in COLUMNS}
        totals.append(median["total"])
        in_host = statistics.median(consumer(BUNDLE, str(path), "training")["total"] for _ in range(repeat))
        hosted.append(in_host)
        eager = consumer(EAGER, str(path))["total"]
        others = _stock(str(path)) if manifest.blueprint_id in stock else {}
        name = f"{manifest.blueprint_id} {manifest.descriptor.name}"
        figures.add(
            "bundles",
            blueprint=name,
            **{f"{key}_ms": value for key, value in median.items()},
            in_training_ms=in_host,
            eager_ms=eager,
            mega_cache_ms=others.get("mega-cache"),
            compiled_function_ms=others.get("load_compiled_function"),
        )
        shown = "; ".join(f"{way} {ms:.0f} ({ms / median['total']:.0f})" for way, ms in others.items())
        print(
            name,
            *(f"{value:.2f}" for value in (*median.values(), in_host, eager)),
            shown,
            sep="\t",
            flush=True,
        )
    p50, worst = statistics.median(totals), max(totals)
    print(f"p50 of totals {p50:.2f} ms, worst {worst:.2f} ms, {len(totals)} bundles")
    print(f"where a host trains: p50 {statistics.median(hosted):.2f} ms, worst {max(hosted):.2f} ms")


def _stock(bundle: str) -> dict[str, float]:
    found = {}
    for name, (save, load) in STOCK.items():
        with tempfile.TemporaryDirectory() as folder:
            artefact = str(Path(folder) / "artefact")
            consumer(save, bundle, artefact, compiler=True)
            found[name] = consumer(load, bundle, artefact, compiler=True)["total"]
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
