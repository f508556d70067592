"""The charts are drawn from the figures beside them, and the benches write such figures."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import msgspec
import pytest

pytest.importorskip("matplotlib", reason="charts are drawn by matplotlib, of the extra dev")

import make_charts

from bench.support import Figures, measuring

NAMES = sorted(make_charts.CHARTS_BY_NAME)


def text(svg: str) -> set[str]:
    return {part.strip() for part in ElementTree.fromstring(svg).itertext() if part.strip()}


def test_every_chart_has_its_figures_and_is_shown_on_the_page():
    page = (make_charts.CHARTS.parent / "benchmarks.md").read_text()
    assert sorted(path.stem for path in (make_charts.CHARTS / "data").iterdir()) == NAMES
    assert sorted(path.stem for path in make_charts.CHARTS.glob("*.svg")) == NAMES
    assert [name for name in NAMES if f"](charts/{name}.svg)" not in page] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_chart_is_what_its_figures_give(name):
    assert (make_charts.CHARTS / f"{name}.svg").read_text() == make_charts.draw(name), (
        "run python -m tools.make_charts"
    )


def test_a_chart_follows_its_figures(tmp_path, monkeypatch):
    monkeypatch.setattr(make_charts, "CHARTS", tmp_path)
    (tmp_path / "data").mkdir()
    with measuring("throughput", ["--json", str(tmp_path / "data" / "throughput.json")]) as figures:
        figures.add("ways", way="a way of its own", cold_s=33.0, warm_s=14.0, blueprints=10, failed=0)
    make_charts.main(["throughput"])
    words = text((tmp_path / "throughput.svg").read_text())
    assert {"a way of its own", "3.0", "1.4", "seconds a blueprint, over 10 blueprints"} <= words


def test_figures_are_not_written_by_a_bench_that_fails(tmp_path):
    target, args = tmp_path / "load.json", ["BP001", "--json", str(tmp_path / "load.json")]
    with pytest.raises(RuntimeError), measuring("load", args):
        raise RuntimeError
    assert not target.exists()
    with measuring("load", args := ["BP001", "--json", str(target)]) as figures:
        figures.add("bundles", blueprint="BP001", total_ms=1 / 3, eager_ms=None)
    assert args == ["BP001"]
    assert msgspec.json.decode(target.read_bytes(), type=Figures).tables == {
        "bundles": [{"blueprint": "BP001", "total_ms": 0.333333, "eager_ms": None}]
    }
