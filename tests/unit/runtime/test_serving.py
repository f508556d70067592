"""Which batches eager serves, where the threads are others than those of the proof."""

from __future__ import annotations

import msgspec
import pytest
import torch

from tests.support.manifests import DRAFT
from tezzeret_cli.model.job import BatchRange
from tezzeret_cli.model.manifest import Serving, StepTimes, Timing
from tezzeret_cli.runtime.serving import ALIKE_MS, eager_here

CPU = torch.device("cpu")


def manifest(threads: int, spans: tuple[BatchRange, ...]):
    quick, slow = (StepTimes(batch, 2 * ms, ms, 1.9, 20) for batch, ms in ((8, ALIKE_MS), (64, 3 * ALIKE_MS)))
    serving = (Serving(1, (quick, slow), spans), Serving(0, (quick,), (BatchRange(2, 2),)))
    timing = Timing(1.0, 1.0, 1.0, 1.0, 1.0, threads)
    return msgspec.structs.replace(DRAFT, serving=serving, timing=timing)


@pytest.mark.parametrize(
    ("spans", "elsewhere"),
    [
        ((BatchRange(1, 64),), (BatchRange(1, 8),)),
        ((BatchRange(1, 3), BatchRange(7, 1024)), (BatchRange(1, 3), BatchRange(7, 8))),
        ((BatchRange(9, 1024),), ()),
        ((), ()),
    ],
)
def test_with_other_threads_only_quick_steps_are_eagers(spans, elsewhere):
    now = torch.get_num_threads()
    assert eager_here(manifest(now, spans), 1, CPU) == spans
    assert eager_here(manifest(now + 1, spans), 1, CPU) == elsewhere
    assert eager_here(manifest(now + 1, spans), 1, torch.device("cuda", 0)) == spans
    assert eager_here(manifest(now, spans), 2, CPU) == ()


def test_a_step_of_fixed_size_is_quick_or_not():
    for ms, expected in ((ALIKE_MS, (BatchRange(0, 0),)), (2 * ALIKE_MS, ())):
        serving = Serving(0, (StepTimes(0, 2 * ms, ms, 1.9, 20),), (BatchRange(0, 0),))
        timing = Timing(1.0, 1.0, 1.0, 1.0, 1.0, torch.get_num_threads() + 1)
        made = msgspec.structs.replace(DRAFT, serving=(serving,), timing=timing)
        assert eager_here(made, 0, CPU) == expected
