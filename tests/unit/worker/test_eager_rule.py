"""The rule that decides who serves a batch, over many measurements."""

from __future__ import annotations

import itertools
import random

import pytest

from tezzeret_cli.model.job import BatchRange
from tezzeret_cli.model.manifest import StepTimes
from tezzeret_cli.worker.eager_rule import (
    MARGIN,
    at_least,
    eager_batches,
    is_clear,
    lower_quartile,
    step_times,
    told,
)


def times(**slower: float) -> list[StepTimes]:
    """``b8=1.5``: at batch 8 the compiled step was 1.5 times eager's."""
    return [StepTimes(int(name[1:]), value, 1.0, value, 9) for name, value in slower.items()]


@pytest.mark.parametrize(
    ("measured", "highest", "expected"),
    [
        (times(b1=0.9, b8=1.0), 1024, ()),
        (times(b1=1.5, b8=1.0), 1024, ()),
        (times(b1=1.5, b3=1.3, b8=1.2), 1024, (BatchRange(1, 8),)),
        (times(b1=1.2, b3=1.3, b8=1.5), 1024, (BatchRange(1, 1024),)),
        (times(b1=1.2, b3=1.3, b8=1.5), 8, (BatchRange(1, 8),)),
        (times(b1=1.5, b3=1.0, b8=1.5), 1024, ()),
        (times(b1=0.7, b3=3.0, b4=0.2, b9=0.2), 1024, ()),
        (times(b1=1.2, b3=1.2, b8=1.0, b9=1.4, b17=1.3), 1024, (BatchRange(1, 3), BatchRange(9, 17))),
        (times(b8=1.5), 1024, (BatchRange(8, 8),)),
        (times(b0=1.5), 0, (BatchRange(0, 0),)),
        (times(b8=MARGIN), 8, ()),
        ([*times(b8=1.5), *times(b8=1.0)], 8, ()),
        ([], 1024, ()),
    ],
)
def test_the_rule(measured, highest, expected):
    assert eager_batches(measured, highest) == expected


@pytest.mark.parametrize("seed", range(200))
def test_what_eager_serves_was_measured_to_be_faster_on_both_sides(seed):
    draw = random.Random(seed)
    sizes = sorted(draw.sample(range(1, 200), draw.randint(2, 8)))
    slower = {size: draw.choice([0.5, MARGIN, 1.2, 2.0]) for size in sizes}
    measured = [StepTimes(size, value, 1.0, value, 9) for size, value in slower.items()]
    spans = eager_batches(measured, 200)
    assert spans == eager_batches(draw.sample(measured, len(measured)), 200)
    for batch in range(1, sizes[-1] + 1):
        around = [pair for pair in itertools.pairwise(sizes) if pair[0] <= batch <= pair[1]]
        faster = any(slower[below] > MARGIN and slower[above] > MARGIN for below, above in around)
        assert [span.min <= batch <= span.max for span in spans].count(True) == faster, batch
    beyond = any(span.max == 200 for span in spans)
    assert beyond == (MARGIN < slower[sizes[-2]] <= slower[sizes[-1]])


def test_the_bound_is_below_the_ratio_and_nearer_the_more_was_measured():
    assert at_least([(3.0, 2.0)] * 16) == 1.5
    draw = random.Random(1)
    pairs = [(1.5 * draw.uniform(1, 1.5), draw.uniform(1, 1.5)) for _ in range(1000)]
    few, many = step_times(8, pairs[:16]), step_times(8, pairs)
    assert few.slower < many.slower < many.compiled_ms / many.eager_ms
    assert many.slower == pytest.approx(1.5, rel=0.05)
    assert step_times(8, pairs) == many


def test_sides_that_cannot_be_told_apart_stay_compiled():
    measured = step_times(8, [(2.0, 1.0)] * 8 + [(1.0, 1.0)] * 8)
    assert (measured.slower, measured.samples) == (1.0, 16)
    assert eager_batches([measured], 8) == ()


def test_what_interrupted_some_steps_does_not_count():
    disturbed = [(50.0, 1.0), (1.0, 1.0), (80.0, 1.0), (1.0, 1.0), (1.0, 1.0)]
    assert step_times(8, disturbed * 4).slower == 1.0
    assert step_times(8, [(1.5, 1.0)] * 12 + [(1.5, 40.0)] * 4).slower == 1.5


@pytest.mark.parametrize(("truth", "eager"), [(0.95, False), (1.0, False), (1.05, True), (1.2, True)])
def test_the_rule_decides_alike_under_noise(truth, eager):
    decided = 0
    for seed in range(20):
        draw = random.Random(seed)
        found = [step_times(batch, noisy_pairs(draw, truth, 120)) for batch in (1, 8, 17)]
        decided += bool(eager_batches(found, 1024)) == eager
    assert decided >= 18


@pytest.mark.parametrize(
    ("truth", "enough"), [(0.5, 16), (0.8, 32), (0.97, 120), (1.05, 120), (1.3, 48), (2.0, 16)]
)
def test_steps_are_measured_until_it_is_clear_who_is_faster(truth, enough):
    counts, decided = [], 0
    for seed in range(40):
        pairs = noisy_pairs(random.Random(seed), truth, 120)
        count = next((n for n in range(16, 120, 16) if is_clear(pairs[:n])), 120)
        counts.append(count)
        decided += (step_times(8, pairs[:count]).slower > MARGIN) == (truth > 1)
    assert sorted(counts)[20] == pytest.approx(enough, abs=16)
    assert decided >= 36


def noisy_pairs(draw, truth, count):
    """Steps that other work slows down by up to half, now and then to ten times; both sides alike."""

    def noisy(step):
        return (
            step * draw.uniform(1.0, 1.05) * draw.choice([1.0, 1.0, 1.2, 1.5]) * draw.choice([1.0] * 9 + [10])
        )

    return [(noisy(truth), noisy(1.0)) for _ in range(count)]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 40])
def test_the_lower_quartile_is_a_sample_in_the_lower_half(count):
    samples = random.Random(count).sample(range(100), count)
    found = lower_quartile(samples)
    assert found in samples
    assert sum(sample < found for sample in samples) <= count / 4


def test_what_people_are_told():
    spans = (BatchRange(1, 8), BatchRange(17, 17))
    assert told("v0", times(b1=1.5, b17=2.0), spans) == (
        "v0: eager is faster at batch 1 to 8, 17, and serves calls of it that take a gradient"
    )
    assert told("v1", times(b0=1.5), (BatchRange(0, 0),)) == (
        "v1: eager is faster, and serves calls that take a gradient"
    )
    assert told("v0", times(b1=1.0), ()) is None
