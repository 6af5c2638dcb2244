"""A profile's `confidence` is the error budget of every question: what it decides at 95 % may be open at 99 %."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.conftest import Cli
from tests.devices.test_decisions import LABELS, answers, simulated
from tests.devices.test_gate import launches

from edgetl.devices.budgets import enough
from edgetl.devices.damage import damaged
from edgetl.devices.drop import Evidence
from edgetl.devices.launches import LaunchPlan
from edgetl.devices.layers.latency import budget_reasons, latency_of, regression_reason
from edgetl.devices.layers.task import task_layer
from edgetl.devices.profile import Accuracy, LatencyBudget
from edgetl.devices.resampling import draws_for, resample_macro_f1
from edgetl.devices.sequential import e_above, e_within, samples_to_stop, sequential_bounds, stream_p_within
from edgetl.devices.statistics import (
    drop_bounds,
    error_budget,
    fewest_samples,
    p_above,
    p_within,
    percent,
    samples_to_decide,
)
from edgetl.devices.verdict import Reason, VariantReport, settle
from edgetl.runtime.timing import percentile_interval


def evidence(lost: int, samples: int, *, sequential: bool = False, looks: int = 1) -> Evidence:
    truths = np.zeros(samples, int)
    variant = np.where(np.arange(samples) < lost, 1, truths)
    return Evidence(answers=answers(truths, truths, variant), sequential=sequential, looks=looks)


def decision(judged: Evidence, confidence: float) -> Reason:
    return task_layer(judged, Accuracy(confidence=confidence), LABELS, exempt=False)[2][0]


def test_what_confidence_leaves_is_a_round_number() -> None:
    assert [error_budget(each) for each in (0.8, 0.95, 0.99, 0.999)] == [0.2, 0.05, 0.01, 0.001]
    assert [percent(each) for each in (0.05, 0.01, 0.001)] == ["95 %", "99 %", "99.9 %"]


@pytest.mark.parametrize(
    ("lost", "samples", "verdicts"),
    [
        (0, 350, ("pass", "undecided")),
        (7, 153, ("fail", "undecided")),
        (8, 153, ("fail", "fail")),
        (0, 500, ("pass", "pass")),
    ],
)
def test_a_drop_that_is_decided_at_95_percent_may_be_open_at_99(
    lost: int, samples: int, verdicts: tuple[str, str]
) -> None:
    """Without a change 299 samples prove one point at 95 %, 493 at 99 %."""
    found = [decision(evidence(lost, samples), confidence) for confidence in (0.95, 0.99)]
    assert tuple(each.verdict for each in found) == verdicts
    assert "(95 %, " in found[0].text and "(99 %, " in found[1].text


def test_what_would_decide_grows_with_the_confidence() -> None:
    assert [fewest_samples(0.01, error_budget(each)) for each in (0.8, 0.95, 0.99)] == [161, 299, 493]
    needed = samples_to_decide(0, 0, 350, 0.01, 0.01)
    assert needed is not None and 493 <= needed <= 1.03 * 493, "looked for in steps of 2 %"
    assert f"about {needed - 350} more" in decision(evidence(0, 350), 0.99).text
    sooner, later = (samples_to_stop(0, 0, 100, 0.01, alpha) for alpha in (0.05, 0.01))
    assert sooner and later and later > 1.3 * sooner


def test_candidates_and_streams_share_the_real_budget() -> None:
    assert "share the 1 %" in decision(evidence(0, 600, looks=3), 0.99).text
    stream = evidence(0, 420, sequential=True)
    assert [decision(stream, each).verdict for each in (0.95, 0.99)] == ["pass", "undecided"]


def test_bounds_and_p_values_are_one_test_at_every_confidence() -> None:
    for alpha in (0.2, 0.01, 0.001):
        low, high = drop_bounds(9, 2, 400, alpha)
        assert p_within(9, 2, 400, high + 1e-5, alpha) <= alpha < p_within(9, 2, 400, high - 1e-5, alpha)
        assert p_above(9, 2, 400, low - 1e-5, alpha) <= alpha < p_above(9, 2, 400, low + 1e-5, alpha)


@pytest.mark.parametrize(("lost", "gained"), [(0.02, 0.0), (0.05, 0.05)])
def test_the_upper_bound_at_99_percent_is_below_the_truth_in_one_of_a_hundred(lost: float, gained: float) -> None:
    """Coverage by simulation; 2,000 draws put 1 % below 1.9 % at four standard errors. The bound is below the truth
    exactly when the p-value of the truth is below 1 %."""
    draws = np.random.default_rng(1).multinomial(200, [lost, gained, 1 - lost - gained], size=2000)
    outcomes, counts = np.unique(draws[:, :2], axis=0, return_counts=True)
    p_values = np.array([p_within(b, c, 200, lost - gained, 0.01) for b, c in outcomes.tolist()])
    assert counts[p_values <= 0.01].sum() / 2000 <= 0.019


def test_a_stream_at_80_percent_errs_in_a_fifth_at_most() -> None:
    """Wealth of five, not of twenty, decides; at the bound both answers together may err in two fifths."""
    rng, wrong = np.random.default_rng(3), 0
    for _ in range(100):
        draws = rng.choice([1, -1, 0], p=[0.02, 0.01, 0.97], size=2000)
        lost, gained = np.cumsum(draws == 1), np.cumsum(draws == -1)
        looks = ((lost[i], gained[i], i + 1) for i in range(49, 2000, 25))
        wrong += any(max(e_within(*each, 0.01), e_above(*each, 0.01)) >= np.log(5) for each in looks)
    assert 0 < wrong / 100 <= 0.4
    assert stream_p_within(0, 0, 420, 0.01) <= 0.05 < stream_p_within(0, 0, 250, 0.01)
    assert sequential_bounds(5, 3, 1000, 0.2)[1] < sequential_bounds(5, 3, 1000, 0.01)[1]


def test_a_model_that_lost_everything_fails_at_the_highest_confidence_among_many_questions() -> None:
    lost = decision(evidence(150, 150), 0.999)
    assert lost.verdict == "fail"
    others = [Reason(layer="task", verdict="pass", text="fine", p_value=1.0)] * 99
    (settled,) = settle([VariantReport(id="a", verdict="fail", reasons=(lost, *others))], 0.001)
    assert settled.verdict == "fail"


def test_a_failure_that_stands_at_95_percent_falls_at_99() -> None:
    reason = Reason(layer="task", verdict="fail", text="drop", p_value=0.02)
    report = VariantReport(id="a", verdict="fail", reasons=(reason,))
    assert settle([report])[0].verdict == "fail" and settle([report], 0.01)[0].verdict == "undecided"


@pytest.mark.parametrize(("most", "verdicts"), [(10.15, ["pass", "undecided"]), (9.8, ["fail", "undecided"])])
def test_a_latency_budget_is_judged_at_the_confidence(most: float, verdicts: list[str]) -> None:
    times = launches(10.0)
    found = [
        budget_reasons(times, latency_of(times, alpha), LatencyBudget(p50_ms=most), alpha)[0] for alpha in (0.05, 0.01)
    ]
    assert [each.verdict for each in found] == verdicts
    assert "(99 %, 5 launches)" in found[1].text


def test_a_regression_is_judged_at_the_confidence() -> None:
    before = launches(10.0)
    after = before * 1.08 * np.exp(np.random.default_rng(5).normal(0, 0.02, (5, 1, 1)))
    found = [regression_reason(before, after, 0.05, alpha) for alpha in (0.2, 0.001)]
    assert [each.verdict for each in found] == ["fail", "undecided"] and "(80 %, " in found[0].text


def test_a_p99_gets_the_queries_that_its_bound_needs() -> None:
    """0.99^n ≤ α needs 299, 459 and 688 queries."""
    plan = LaunchPlan(launches=5, blocks=2, queries=10)
    asked = [enough(plan, LatencyBudget(p99_ms=1.0), alpha) for alpha in (0.05, 0.01, 0.001)]
    assert [each.launches * each.blocks * each.queries for each in asked] == [300, 500, 700]
    assert enough(plan, LatencyBudget(p50_ms=1.0), 0.001) == plan and enough(LaunchPlan(), LatencyBudget(), 0.05)
    whole = np.random.default_rng(0).gamma(9, size=(5, asked[2].blocks, 10))
    assert percentile_interval(whole, 0.99, 0.001).high is not None


def test_macro_f1_draws_more_to_be_surer() -> None:
    some = simulated(300, 3, 0.03, 0.01, seed=0)
    assert [draws_for(alpha) for alpha in (0.2, 0.05, 0.01, 0.001)] == [2000, 2000, 10_000, 100_000]
    sure, surer = (resample_macro_f1(some, draws_for(alpha)).bounds(alpha) for alpha in (0.05, 0.01))
    assert surer[0] < sure[0] < sure[1] < surer[1]


def test_damage_is_named_at_the_confidence() -> None:
    even = simulated(2000, 10, 0.02, 0.01, seed=0)
    variant = even.variant.copy()
    variant[np.flatnonzero((even.truths == 3) & (even.variant == 3))[:9]] = 4
    hurt = answers(even.truths, even.reference, variant)
    (named,) = damaged(hurt, LABELS)
    assert named.name == "d" and damaged(hurt, LABELS, named.p_value / 2) == []


def test_every_reason_of_a_check_speaks_of_the_profiles_confidence(bundle: Path, tmp_path: Path, cli: Cli) -> None:
    profile = tmp_path / "sure.toml"
    text = 'name = "sure"\ntitle = "sure"\n[accuracy]\nconfidence = CONFIDENCE\n[[engines]]\nname = "onnxruntime"\n'
    highs = []
    for confidence in ("0.95", "0.999"):
        profile.write_text(text.replace("CONFIDENCE", confidence))
        done = cli("check", bundle, "--device", profile, "--variants", "onnxruntime-int8", "--json")
        assert done.exit_code == 0, done.output
        report = json.loads(done.stdout)
        (variant,), said = report["variants"], report["confidence"]
        assert said == float(confidence)
        (task,) = [reason["text"] for reason in variant["reasons"] if reason["layer"] == "task"]
        assert f"({100 * float(confidence):g} %, 90 samples)" in task
        highs.append(variant["drop_points"]["high"])
    assert highs[0] < highs[1], "the surer, the wider"
    assert msgspec.convert(variant, VariantReport).classes[0].drop_points.high > 0


def test_what_would_decide_counts_the_candidates_that_share_a_pass() -> None:
    """350 samples without a change prove one point at 5 %, but not at a third of that."""
    text = decision(evidence(0, 350, looks=3), 0.95).text
    least = fewest_samples(0.01, 0.05 / 3)
    assert f"fewer than {least} can never" in text and least > 400
    more = int(text.partition("about ")[2].split()[0])
    assert least <= 350 + more <= 1.03 * least
