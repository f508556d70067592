"""Down the ladder: which strategy is tried next, and which is left out because it cannot help."""

from __future__ import annotations

import msgspec
import pytest

from tests.support.forging import job
from tests.support.signing import manifest
from tezzeret_cli.model.descriptor import Descriptor, Tier
from tezzeret_cli.model.manifest import Reason
from tezzeret_cli.strategies import AGGRESSIVE, EMERGENCY, FAST, STANDARD, STRATEGIES
from tezzeret_cli.strategies.choose import choose
from tezzeret_cli.strategies.ladder import next_rung, step_note

LADDER = tuple(STRATEGIES.values())


def after(failed, kind: str, device: str = "cpu") -> str | None:
    rung = next_rung(failed, Reason(kind, "", False), device, LADDER)
    return rung.name if rung else None


@pytest.mark.parametrize("kind", ["timeout", "out_of_memory", "crash", "wrong_numbers", "proof_timeout"])
def test_what_may_get_better_goes_down_rung_by_rung(kind):
    assert after(AGGRESSIVE, kind) == "standard"
    assert after(STANDARD, kind) == "fast"


@pytest.mark.parametrize(
    "kind", ["graph_break", "unsupported", "refused", "capture_failed", "no_compiler", "eager_failed"]
)
@pytest.mark.parametrize("strategy", LADDER, ids=lambda strategy: strategy.name)
def test_what_cannot_get_better_skips_the_rest(kind, strategy):
    assert after(strategy, kind) is None


def test_a_rung_that_would_do_the_same_again_is_left_out():
    assert after(FAST, "timeout") is None
    assert after(FAST, "timeout", "cuda:0") == "emergency"
    assert after(EMERGENCY, "timeout", "cuda:0") is None


def test_a_strategy_that_is_not_on_the_ladder_has_nothing_below_it():
    odd = msgspec.structs.replace(STANDARD, name="odd")
    assert after(odd, "timeout") is None


def chosen(tier: Tier, *, free: int = 64 << 30, allowed: bool = False, earlier=None) -> tuple[str, str]:
    made = msgspec.structs.replace(job(), descriptor=Descriptor("BP001", "identity_passthrough", tier=tier))
    strategy, reason = choose(made, STRATEGIES, earlier, free, allow_aggressive=allowed)
    return strategy.name, reason


def test_auto_goes_by_tier_and_by_what_is_allowed():
    assert chosen(Tier.SAFE)[0] == "standard"
    assert chosen(Tier.SAFE, allowed=True)[0] == "aggressive"
    assert chosen(Tier.HIGH_RISK, allowed=True) == ("fast", "auto: its tier is HIGH_RISK")


@pytest.mark.parametrize(
    ("free", "name"), [(9 << 30, "standard"), (5 << 30, "fast"), (3 << 30, "emergency"), (1, "emergency")]
)
def test_auto_takes_what_fits_into_memory(free, name):
    strategy, reason = chosen(Tier.SAFE, free=free)
    assert strategy == name
    assert ("MiB of memory are free" in reason) == (name != "standard")


def test_auto_begins_with_what_the_last_bundle_gave_way_to():
    note = step_note(STANDARD, Reason("timeout", "not done after 250 s", False), FAST)
    earlier = manifest(compile_strategy="fast", notes=("beside it", note))
    assert chosen(Tier.SAFE, earlier=earlier) == ("fast", f"auto: a dearer one failed for {earlier.version}")
    assert chosen(Tier.SAFE, earlier=manifest(compile_strategy="fast", notes=("beside it",)))[0] == "standard"
    fell_back = msgspec.structs.replace(earlier, eager_fallback=True)
    assert chosen(Tier.SAFE, earlier=fell_back)[0] == "standard"


@pytest.mark.parametrize(("share", "name"), [(0.71, "fast"), (0.69, "standard")])
def test_auto_goes_to_fast_where_the_last_build_was_close_to_its_time(share, name):
    took_ms = share * STANDARD.timeout_s * 1e3
    earlier = manifest(compile_strategy="standard", compile_ms=took_ms)
    assert chosen(Tier.SAFE, earlier=earlier)[0] == name
