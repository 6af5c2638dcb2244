"""The statistics behind a verdict: each method against a closed form, a known value or a simulation."""

import numpy as np
import pytest

from edgetl.devices.answers import Answers
from edgetl.devices.damage import damaged, silent_classes
from edgetl.devices.drop import Evidence
from edgetl.devices.layers.classes import class_bound, class_reports
from edgetl.devices.layers.task import task_layer
from edgetl.devices.multiplicity import holm
from edgetl.devices.profile import Accuracy
from edgetl.devices.resampling import resample_macro_f1
from edgetl.devices.sequential import e_above, e_within, samples_to_stop, sequential_bounds
from edgetl.devices.statistics import drop_bounds, fewest_samples, lower_rate, p_above, p_within, upper_rate
from edgetl.devices.verdict import Reason, VariantReport, settle
from edgetl.types import Array

LABELS = tuple("abcdefghij")


def answers(truths: Array, reference: Array, variant: Array) -> Answers:
    return Answers(
        samples=np.arange(len(truths), dtype=np.uint64), truths=truths, reference=reference, variant=variant
    )  # fmt: skip


def simulated(samples: int, labels: int, lost: float, gained: float, seed: int, accuracy: float = 0.9) -> Answers:
    """Paired answers whose true drop of accuracy is `lost` − `gained`."""
    rng = np.random.default_rng(seed)
    truths = rng.integers(0, labels, samples)
    reference = np.where(rng.random(samples) < accuracy, truths, (truths + 1) % labels)
    right, draw = reference == truths, rng.random(samples)
    variant = np.where(right & (draw < lost / accuracy), (truths + 1) % labels, reference)
    return answers(truths, reference, np.where(~right & (draw < gained / (1 - accuracy)), truths, variant))


def test_holm_is_the_textbook_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def test_a_failure_that_is_one_of_many_questions_becomes_undecided() -> None:
    def report(name: str, p_value: float) -> VariantReport:
        verdict = "fail" if p_value <= 0.05 else "pass"
        reason = Reason(layer="task", verdict=verdict, text="drop", p_value=p_value)  # type: ignore[arg-type]
        return VariantReport(id=name, verdict="pass", reasons=(reason,))

    lucky = settle([report("a", 0.04), report("b", 0.9), report("c", 0.8)])
    assert [each.verdict for each in lucky] == ["undecided", "pass", "pass"]
    assert "not significant among all questions" in lucky[0].reasons[0].text
    assert [each.verdict for each in settle([report("a", 0.001), report("b", 0.9)])] == ["fail", "pass"]


@pytest.mark.parametrize(("lost", "gained", "samples"), [(0, 0, 153), (9, 2, 400), (3, 8, 1200), (150, 100, 30_000)])
def test_p_values_and_bounds_are_two_sides_of_one_test(lost: int, gained: int, samples: int) -> None:
    low, high = drop_bounds(lost, gained, samples)
    assert p_within(lost, gained, samples, high + 1e-5) <= 0.05 < p_within(lost, gained, samples, high - 1e-5)
    assert p_above(lost, gained, samples, low - 1e-5) <= 0.05 < p_above(lost, gained, samples, low + 1e-5)


def test_rate_bounds_are_clopper_and_pearsons() -> None:
    """Published values: Clopper & Pearson 1934, and the rule of three in its exact form."""
    assert upper_rate(0, 100) == pytest.approx(1 - 0.05 ** (1 / 100), abs=1e-6)
    assert (lower_rate(4, 20, 0.025), upper_rate(4, 20, 0.025)) == pytest.approx((0.0573, 0.4366), abs=1e-4)
    assert lower_rate(0, 10) == 0.0 and upper_rate(10, 10) == 1.0


def test_fewest_samples_is_where_an_unchanged_set_begins_to_prove() -> None:
    size = fewest_samples(0.01)
    assert 298 <= size <= 301
    assert drop_bounds(0, 0, size)[1] <= 0.01 < drop_bounds(0, 0, size - 3)[1]


def test_a_stream_that_is_looked_at_after_every_sample_errs_rarely() -> None:
    """At the bound itself, both answers together are allowed 10 %; peeking with a fixed test gives three times that."""
    rng = np.random.default_rng(3)
    wrong = 0
    for _ in range(200):
        draws = rng.choice([1, -1, 0], p=[0.02, 0.01, 0.97], size=3000)
        lost, gained = np.cumsum(draws == 1), np.cumsum(draws == -1)
        looks = range(49, 3000, 25)
        wrong += any(
            max(e_within(lost[i], gained[i], i + 1, 0.01), e_above(lost[i], gained[i], i + 1, 0.01)) >= np.log(20)
            for i in looks
        )
    assert wrong / 200 <= 0.1


def test_a_stream_ends_soon_when_all_is_well_or_all_is_wrong() -> None:
    stop = samples_to_stop(0, 0, 100, 0.01)
    assert stop is not None and 300 < stop < 450, "at most half as many again as a fixed test needs"
    assert samples_to_stop(40, 0, 400, 0.01) == 400
    assert samples_to_stop(10, 0, 1000, 0.01) is None
    low, high = sequential_bounds(5, 3, 1000)
    fixed = drop_bounds(5, 3, 1000)
    assert low < fixed[0] < 0.002 < fixed[1] < high


def test_macro_f1_without_any_change_proves_no_more_than_accuracy_does() -> None:
    same = simulated(300, 3, 0.0, 0.0, seed=0)
    drawn = resample_macro_f1(same)
    low, high = drawn.bounds()
    assert drawn.reference == drawn.value
    assert 0.005 < high < 0.02 and low == pytest.approx(-high, rel=0.3)


def test_macro_f1_is_scikit_learns() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    some = simulated(200, 4, 0.1, 0.02, seed=1, accuracy=0.7)
    drawn = resample_macro_f1(some, draws=10)
    assert drawn.reference == pytest.approx(metrics.f1_score(some.truths, some.reference, average="macro"))
    assert drawn.value == pytest.approx(metrics.f1_score(some.truths, some.variant, average="macro"))


def test_the_upper_bound_of_macro_f1_holds() -> None:
    truth = simulated(200_000, 5, 0.03, 0.01, seed=99)
    drop = (lambda drawn: drawn.reference - drawn.value)(resample_macro_f1(truth, draws=2))
    misses = sum(
        resample_macro_f1(simulated(300, 5, 0.03, 0.01, seed=s), draws=300).bounds()[1] < drop for s in range(150)
    )
    assert misses / 150 <= 0.05 + 3 * (0.05 * 0.95 / 150) ** 0.5


def test_the_class_that_lost_most_is_named_and_no_other() -> None:
    even = simulated(2000, 10, 0.02, 0.01, seed=0)
    assert damaged(even, LABELS) == []
    variant = even.variant.copy()
    variant[np.flatnonzero(even.truths == 3)[:60]] = 4
    (only,) = damaged(answers(even.truths, even.reference, variant), LABELS)
    assert only.name == "d" and only.lost >= 50 and only.p_value < 1e-6


def test_a_group_that_lost_is_named() -> None:
    even = simulated(1000, 10, 0.0, 0.0, seed=0)
    groups = np.where(np.arange(1000) % 4 == 0, "night", "day")
    night = np.flatnonzero(groups == "night")[:30]
    variant = even.variant.copy()
    variant[night] = (even.truths[night] + 1) % 10
    changed = Answers(
        samples=even.samples, truths=even.truths, reference=even.reference, variant=variant, groups=groups
    )
    assert [each.name for each in damaged(changed, LABELS)] == ["group night"]


def test_a_class_that_went_silent_is_found_and_a_rare_one_is_not_accused() -> None:
    some = simulated(600, 10, 0.02, 0.01, seed=0)
    assert not silent_classes(some.reference, some.variant, LABELS)
    silent = silent_classes(some.reference, np.where(some.variant == 5, 6, some.variant), LABELS)
    assert list(silent) == ["f"] and silent["f"] < 1e-6
    reference = np.array([0, 1] * 100 + [2])
    assert not silent_classes(reference, np.where(reference == 2, 1, reference), LABELS), "seen once, changed once"


def test_new_answers_count_once() -> None:
    some = simulated(50, 3, 0.1, 0.0, seed=0)
    assert len(some.with_new(some)) == 50
    shifted = Answers(
        samples=np.concatenate([some.samples + 25, some.samples[:5] + 25]),
        truths=np.concatenate([some.truths, some.truths[:5]]),
        reference=np.concatenate([some.reference, some.reference[:5]]),
        variant=np.concatenate([some.variant, some.variant[:5]]),
    )
    assert len(some.with_new(shifted)) == 75


def test_what_labels_prove_is_not_undone_by_images_without_labels() -> None:
    worse = simulated(400, 10, 0.15, 0.0, seed=0)
    evidence = Evidence(answers=worse, unlabelled=(0, 2000))
    _, _, reasons = task_layer(evidence, Accuracy(), LABELS, exempt=False)
    assert reasons[0].verdict == "fail"
    same = Evidence(answers=simulated(100, 10, 0.0, 0.0, seed=0), unlabelled=(0, 2000))
    assert task_layer(same, Accuracy(), LABELS, exempt=False)[2][0].verdict == "pass"


def test_a_bound_for_classes_holds_for_groups_too() -> None:
    even = simulated(1000, 10, 0.0, 0.0, seed=0)
    groups = np.where(np.arange(1000) < 40, "night", "day")
    variant = even.variant.copy()
    variant[:24] = (even.truths[:24] + 1) % 10
    hurt = Answers(samples=even.samples, truths=even.truths, reference=even.reference, variant=variant, groups=groups)
    bound = Accuracy(max_drop_points=50, max_class_drop_points=20)
    _, _, reasons = task_layer(Evidence(answers=hurt), bound, LABELS, exempt=False)
    assert any(r.verdict == "fail" and "`group night`" in r.text for r in reasons)
    _, _, reasons = task_layer(Evidence(answers=even), bound, (*LABELS, "never seen"), exempt=False)
    assert any(r.verdict == "undecided" and "none is proven" in r.text for r in reasons)


def of_each(labels: int, samples: int, lost: int) -> Answers:
    """So many samples of each class, all right; the variant lost so many of the first."""
    truths = np.repeat(np.arange(labels), samples)
    return answers(truths, truths, np.where(np.arange(len(truths)) < lost, 1, truths))


@pytest.mark.parametrize("labels", [10, 1000])
def test_one_class_of_a_thousand_that_lost_all_fails_among_many_questions(labels: int) -> None:
    names = tuple(str(i) for i in range(labels))
    reason = class_bound(of_each(labels, 50, lost=50), 20, names)
    assert reason.verdict == "fail" and "`0`" in reason.text
    others = [Reason(layer="task", verdict="pass", text="fine", p_value=1.0)] * 99
    (settled,) = settle([VariantReport(id="a", verdict="fail", reasons=(reason, *others))])
    assert settled.verdict == "fail"


@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize(("lost", "verdict"), [(0, "pass"), (24, "undecided"), (90, "fail")])
def test_a_bound_for_classes_is_decided_by_the_one_that_lost_most(lost: int, verdict: str, sequential: bool) -> None:
    """Of 150 samples each a fifth may be lost."""
    assert class_bound(of_each(10, 150, lost), 20, LABELS, sequential=sequential).verdict == verdict


def test_candidates_that_were_judged_on_the_same_samples_share_the_pass_of_classes_too() -> None:
    """Without a change 14 samples prove a fifth at 5 %, 21 at 1 %."""
    bound = Accuracy(max_drop_points=50, max_class_drop_points=20)
    found = [
        task_layer(Evidence(answers=of_each(10, 16, lost=0), looks=looks), bound, LABELS, exempt=False)[2][-1]
        for looks in (1, 5)
    ]
    assert [each.verdict for each in found] == ["pass", "undecided"]


def test_a_class_of_a_stream_has_bounds_that_hold_whenever_one_looks() -> None:
    some = simulated(1000, 10, 0.03, 0.01, seed=0)
    fixed, stream = class_reports(some, LABELS), class_reports(some, LABELS, sequential=True)
    for before, after in zip(fixed, stream, strict=True):
        assert after.drop_points.low < before.drop_points.low and before.drop_points.high < after.drop_points.high
        assert after.drop_points.value == before.drop_points.value
