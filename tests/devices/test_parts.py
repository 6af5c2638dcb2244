"""What happened to each class: the figures against counting by hand, the bounds against exact ones and simulation."""

import numpy as np
import pytest
from tests.devices.test_decisions import LABELS, answers, simulated

from edgetl.devices import parts as parts_module
from edgetl.devices.answers import Answers
from edgetl.devices.layers.classes import class_reports
from edgetl.devices.parts import Part, part_bounds, parts
from edgetl.devices.statistics import drop_bounds, lower_rate, upper_rate


def part(lost: int, gained: int, samples: int) -> Part:
    return Part(name="x", samples=samples, right=lost, lost=lost, gained=gained)


def grouped() -> Answers:
    """Class a: 4 samples, 3 right in torch, one lost; class b: 2 samples, one right, one gained. One has no group."""
    return Answers(
        samples=np.arange(6, dtype=np.uint64),
        truths=np.array([0, 0, 0, 0, 1, 1]),
        reference=np.array([0, 0, 0, 2, 1, 0]),
        variant=np.array([0, 0, 1, 2, 1, 1]),
        groups=np.array(["day", "day", "night", "", "night", "day"]),
    )


def test_recall_of_every_class_and_group_that_has_samples() -> None:
    found = class_reports(grouped(), ("a", "b", "c"))
    assert [(each.name, each.samples) for each in found] == [("a", 4), ("b", 2), ("group day", 3), ("group night", 2)]
    assert [(each.reference, each.value) for each in found[:2]] == [(0.75, 0.5), (0.5, 1.0)]
    assert [each.drop_points.value for each in found[:2]] == [25.0, -50.0]
    assert found[2].drop_points.value == pytest.approx(-100 / 3) and found[3].drop_points.value == 50.0
    assert [each.name for each in parts(grouped(), ("a", "b", "c"))] == ["a", "b", "c", "group day", "group night"]


def test_only_the_class_that_lost_more_than_the_rest_is_damaged() -> None:
    even = simulated(2000, 10, 0.02, 0.01, seed=0)
    variant = even.variant.copy()
    variant[np.flatnonzero(even.truths == 3)[:60]] = 4
    found = class_reports(answers(even.truths, even.reference, variant), LABELS)
    assert [each.name for each in found if each.damaged] == ["d"]
    assert all(each.drop_points.low <= each.drop_points.value <= each.drop_points.high for each in found)
    assert found[3].drop_points.low > 15
    mean = sum(each.samples * each.drop_points.value for each in found) / 2000
    whole = answers(even.truths, even.reference, variant).result()
    assert mean == pytest.approx(100 * (whole.reference - whole.value))


@pytest.mark.parametrize("alpha", [0.05, 0.01])
@pytest.mark.parametrize("counts", [(1, 0, 30), (3, 1, 50), (20, 10, 1000)])
def test_bounds_of_a_part_are_the_exact_ones(counts: tuple[int, int, int], alpha: float) -> None:
    """A hundredth of a point for rounding; with more than twenty changes it is another method, a tenth."""
    found = part_bounds([part(*counts)], alpha)[counts]
    assert found == pytest.approx(drop_bounds(*counts, alpha), abs=1e-3 if counts[0] == 20 else 1e-4)


def test_a_part_without_any_change_is_bounded_by_the_rule_of_three() -> None:
    """1 − α^(1/n): Clopper and Pearson's for none of n lost."""
    (low, high) = part_bounds([part(0, 0, 40)], 0.01)[0, 0, 40]
    assert (low, high) == pytest.approx((-upper_rate(0, 40, 0.01), upper_rate(0, 40, 0.01)), abs=1e-6)


def test_bounds_of_many_parts_hold_the_exact_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [part(lost, gained, samples) for lost in range(4) for gained in range(4) for samples in (5, 50)]
    exact = {each.counts: drop_bounds(*each.counts) for each in found if each.lost or each.gained}
    monkeypatch.setattr(parts_module, "EXACT", 0)
    for counts, (low, high) in part_bounds(found).items():
        if counts in exact:
            assert low <= exact[counts][0] + 1e-4 and high >= exact[counts][1] - 1e-4
            assert -1 <= low < high <= 1


def test_wide_bounds_are_clopper_and_pearsons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts_module, "EXACT", 0)
    (found,) = part_bounds([part(3, 1, 50)]).values()
    low = lower_rate(3, 50, 0.025) - upper_rate(1, 50, 0.025)
    assert found == pytest.approx((low, upper_rate(3, 50, 0.025) - lower_rate(1, 50, 0.025)), abs=1e-6)


def test_bounds_cover_the_truth_of_every_class() -> None:
    """3,000 classes of 40 samples, 8 % lost and 3 % gained: one-sided bounds err in 5 % each at most."""
    draws = np.random.default_rng(0).multinomial(40, [0.08, 0.03, 0.89], size=3000)
    found = [part(lost, gained, 40) for lost, gained, _ in draws.tolist()]
    bounds = part_bounds(found)
    allowed = 0.05 + 4 * (0.05 * 0.95 / 3000) ** 0.5
    assert np.mean([bounds[each.counts][0] > 0.05 for each in found]) <= allowed
    assert np.mean([bounds[each.counts][1] < 0.05 for each in found]) <= allowed
