"""Write docs/charts/*.svg from docs/charts/data/*.json, which the benches write with ``--json FILE``.

``python -m tools.make_charts [NAME]...`` draws every chart, or those named. The same figures and the same
matplotlib give the same bytes.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
import msgspec
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from bench.support import Figures, Row, geometric_mean

CHARTS = Path(__file__).resolve().parents[1] / "docs" / "charts"

INK, FAINT = "#7d8590", "#7d859055"
BLUE, ORANGE, GREEN, PURPLE = "#3f8fd2", "#d9772b", "#2f9e68", "#a86fd0"
"""All legible on white and on black, for the ground is transparent."""

STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tezzeret",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.markersize": 4.5,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
}


def main(names: list[str]) -> None:
    for name in names or CHARTS_BY_NAME:
        (CHARTS / f"{name}.svg").write_text(draw(name), encoding="utf-8")


def draw(name: str) -> str:
    """The chart of a bench's figures as SVG. Raises ``OSError`` and ``msgspec.MsgspecError`` where they
    cannot be read."""
    figures = msgspec.json.decode((CHARTS / "data" / f"{name}.json").read_bytes(), type=Figures)
    with mpl.rc_context(STYLE):
        chart = CHARTS_BY_NAME[name](figures)
        out = io.StringIO()
        chart.savefig(
            out, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None, "Creator": None}
        )
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def load(figures: Figures) -> Figure:
    """Load to first gradient against eager's first step, the stock ways and the aim."""
    rows = figures.tables["bundles"]
    chart, axes = _per_blueprint(rows)
    axes.axvline(10, color=INK, linestyle="--", linewidth=1)
    axes.annotate("10 ms", (10, 1), (3, 2), xycoords=("data", "axes fraction"), textcoords="offset points")
    _dots(axes, rows, "eager_ms", "eager's first step, the module built", INK, "|")
    _dots(axes, rows, "total_ms", "bundle", BLUE, "o")
    _dots(axes, rows, "in_training_ms", "bundle, where a host trains", GREEN, ".")
    _dots(axes, rows, "mega_cache_ms", "mega-cache", ORANGE, "s")
    _dots(axes, rows, "compiled_function_ms", "load_compiled_function", PURPLE, "D")
    _logarithmic(axes, "load to first gradient in a fresh process, ms (logarithmic)")
    return chart


def steps(figures: Figures) -> Figure:
    """A training step of the bundle as a share of eager's and of torch.compile's."""
    rows = figures.tables["bundles"]
    shares: list[Row] = [
        {
            "blueprint": row["blueprint"],
            "eager": _number(row, "bundle_us") / _number(row, "eager_us"),
            "compile": _number(row, "bundle_us") / _number(row, "compile_us"),
        }
        for row in rows
    ]
    chart, axes = _per_blueprint(shares)
    axes.axvline(1, color=INK, linestyle="--", linewidth=1)
    for key, beside, color, marker in (
        ("eager", "eager", BLUE, "o"),
        ("compile", "torch.compile", ORANGE, "s"),
    ):
        mean = geometric_mean(_number(row, key) for row in shares)
        _dots(axes, shares, key, f"beside {beside}; geometric mean {mean:.2f}", color, marker)
        axes.axvline(mean, color=color, linewidth=1, alpha=0.6)
    _logarithmic(
        axes, "training step: the bundle's time divided by the other's (logarithmic; below 1 is faster)"
    )
    axes.set_xlim(min(0.25, axes.get_xlim()[0]), max(4, axes.get_xlim()[1]))
    axes.set_xticks([0.25, 0.5, 1, 2, 4])
    return chart


def throughput(figures: Figures) -> Figure:
    """Seconds to compile a blueprint, in each way, from a cold and from a warm cache."""
    rows = figures.tables["ways"]
    chart = Figure(figsize=(7.5, 0.7 + 0.5 * len(rows)))
    axes = chart.subplots()
    for offset, key, label, color in ((-0.2, "cold_s", "cold", INK), (0.2, "warm_s", "warm", BLUE)):
        # What a cold way takes is that of the first blueprint, too.
        seconds = [_number(row, key) / (_number(row, "blueprints") + (key == "cold_s")) for row in rows]
        places = [place + offset for place in range(len(rows))]
        bars = axes.barh(places, seconds, 0.36, color=color, label=label)
        axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.set_yticks(range(len(rows)), [str(row["way"]) for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel(f"seconds a blueprint, over {rows[0]['blueprints']:.0f} blueprints")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.01), ncols=2)
    return chart


def strategies(figures: Figures) -> Figure:
    """What each strategy costs to compile with, and the steps of what it makes."""
    rows = figures.tables["strategies"]
    chart = Figure(figsize=(7.5, 2.2), layout="constrained")
    panels = chart.subplots(1, 3)
    for axes, table, key, label, form in (
        (panels[0], "strategies", "job_p50_s", "compile time of a job, p50, s", "%.1f"),
        (panels[1], "strategies", "peak_p50_mib", "peak memory of a job, p50, MiB", "%.0f"),
        (panels[2], "ratios", "step_to_eager", "training step / eager's, geometric mean", "%.2f"),
    ):
        found = figures.tables[table]
        bars = axes.bar(
            [str(row["strategy"]) for row in found],
            [_number(row, key) for row in found],
            0.6,
            color=(BLUE, GREEN, ORANGE, PURPLE)[: len(found)],
        )
        axes.bar_label(bars, fmt=form, padding=2)
        axes.set_title(label)
        axes.margins(y=0.15)
    chart.supxlabel(f"{rows[0]['jobs']:.0f} blueprints, one job at a time", fontsize=9)
    return chart


def size(figures: Figures) -> Figure:
    """Bytes on disk of a bundle and of AOTInductor's package, and the aim."""
    rows: list[Row] = [
        {**row, "aim_kib": _number(row, "package_kib") / 3} for row in figures.tables["bundles"]
    ]
    chart, axes = _per_blueprint(rows)
    _dots(axes, rows, "package_kib", "AOTInductor's package: forward", ORANGE, "s")
    _dots(axes, rows, "aim_kib", "a third of it", ORANGE, "|")
    _dots(axes, rows, "bundle_kib", "bundle: forward and backward, every mode and batch", BLUE, "o")
    _dots(axes, rows, "parameters_kib", "parameters alone", BLUE, "|")
    _logarithmic(axes, "KiB on disk (logarithmic)")
    axes.set_xlim(left=1)
    return chart


CHARTS_BY_NAME: dict[str, Callable[[Figures], Figure]] = {
    each.__name__: each for each in (load, steps, throughput, strategies, size)
}


def _per_blueprint(rows: Sequence[Row]) -> tuple[Figure, Axes]:
    """A line for each blueprint, from the top."""
    chart = Figure(figsize=(7.5, 1.3 + 0.19 * len(rows)))
    axes = chart.subplots()
    axes.set_yticks(range(len(rows)), [str(row["blueprint"]) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid()
    return chart, axes


def _dots(axes: Axes, rows: Sequence[Row], key: str, label: str, color: str, marker: str) -> None:
    """A dot for each blueprint that has the figure."""
    places = [place for place, row in enumerate(rows) if row[key]]
    values = [_number(rows[place], key) for place in places]
    if values:
        axes.plot(values, places, marker, color=color, label=label, markersize=7 if marker == "|" else None)


def _logarithmic(axes: Axes, label: str) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(label)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.01), ncols=2)


def _number(row: Row, key: str) -> float:
    value = row[key]
    assert isinstance(value, (int, float)), f"{key} of {row}"
    return value


if __name__ == "__main__":
    main(sys.argv[1:])
