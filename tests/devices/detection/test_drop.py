"""The drop of mean average precision: its bounds hold, whatever was lost, and nothing seen is not nothing lost."""

import msgspec
import numpy as np
import pytest
from tests.devices.detection import detectors
from tests.devices.detection.simulated import KINDS, Kind, pair, share_for, true_drop, world

from edgetl.devices.answers import Answers
from edgetl.devices.detection.drop import Pair, paired, photos_to_decide, resample_precision
from edgetl.devices.resampling import Resampled
from edgetl.devices.statistics import upper_rate
from edgetl.tasks.average_precision import Matches, Ranked
from edgetl.tasks.detections import Found, as_array
from edgetl.types import Array


def one_each(photos: int, lost: int = 0) -> Pair:
    """A photo has one object of one label; the reference finds all, the variant all but `lost`."""
    objects = np.ones(photos, np.int64)

    def matches(kept: Array) -> Matches:
        right = np.ones((1, len(kept)), bool)
        ranked = Ranked(photos=kept, right=right, wrong=~right, objects=objects)
        return Matches(photos=photos, thresholds=(0.5,), labels=(ranked,))

    everything = np.arange(photos)
    return Pair(reference=matches(everything), variant=matches(everything[lost:]), units=everything)


def drawn(pair: Pair, alpha: float = 0.05) -> Resampled:
    found = resample_precision(pair, alpha)
    assert found is not None
    return found


@pytest.mark.parametrize("photos", [10, 50, 200])
def test_without_any_change_the_bound_is_that_of_clopper_and_pearson(photos: int) -> None:
    found = drawn(one_each(photos))
    low, high = found.bounds()
    assert found.reference == found.value == 1
    # the precision counts in hundredths of recall
    assert high == pytest.approx(upper_rate(0, photos), abs=0.015) and low == pytest.approx(-high, abs=0.01)
    assert high > 0.01


def test_what_cannot_be_is_unlikely_and_what_was_seen_is_not() -> None:
    found = drawn(one_each(300, lost=30))
    assert found.p_within(0.02) > 0.99 and found.p_above(0.02) < 0.01
    assert found.p_within(0.25) < 0.01 and found.p_above(0.25) > 0.99
    low, high = found.bounds()
    assert 0.06 < low < 0.1 < high < 0.15


def test_equal_input_gives_equal_bounds() -> None:
    rng = np.random.default_rng(0)
    here = pair(world(rng, 30), "objects", 0.05, rng)
    assert drawn(here).bounds() == drawn(here).bounds()


def test_bounds_at_98_percent_are_wider() -> None:
    rng = np.random.default_rng(0)
    here = pair(world(rng, 30), "objects", 0.05, rng)
    (low, high), (lower, higher) = drawn(here).bounds(), drawn(here, 0.02).bounds(0.02)
    assert lower < low < high < higher


def test_photos_of_one_group_count_as_one() -> None:
    """Ten groups of twenty photos show as much as ten photos."""
    grouped = msgspec.structs.replace(one_each(200), units=np.arange(200) // 20)
    assert drawn(grouped).bounds()[1] == pytest.approx(drawn(one_each(10)).bounds()[1], abs=0.02)


def test_groups_are_taken_from_the_answers_and_a_photo_without_one_is_its_own() -> None:
    here = detectors.world(photos=4)
    answers = Answers(
        samples=np.arange(4, dtype=np.uint64),
        truths=here.truths,
        reference=here.truths,
        variant=here.truths,
        groups=np.array(["a", "", "a", ""]),
    )
    units = paired(answers, 3).units
    assert units[0] == units[2] and len(set(units.tolist())) == 3


def test_a_label_that_few_photos_show_is_known_as_little() -> None:
    """Two labels, unchanged: where one lies in 5 of 200 photos, nobody knows that the mean is safe."""
    photos = 200

    def two(rare: int) -> Pair:
        sizes = (photos, rare)
        labels = tuple(
            Ranked(
                photos=np.arange(count), right=np.ones((1, count), bool), wrong=np.zeros((1, count), bool),
                objects=(np.arange(photos) < count).astype(np.int64),
            )
            for count in sizes
        )  # fmt: skip
        matches = Matches(photos=photos, thresholds=(0.5,), labels=labels)
        return Pair(reference=matches, variant=matches, units=np.arange(photos))

    assert drawn(two(200)).bounds()[1] < 0.03 < 0.1 < drawn(two(5)).bounds()[1]


def test_without_objects_there_is_nothing_to_draw() -> None:
    nothing = Found(boxes=np.zeros((0, 4)), scores=np.zeros(0), classes=np.zeros(0, int))
    photos = as_array([nothing] * 3)
    answers = Answers(samples=np.arange(3, dtype=np.uint64), truths=photos, reference=photos, variant=photos)
    assert resample_precision(paired(answers, 3)) is None


def test_one_photo_decides_nothing() -> None:
    low, high = drawn(one_each(1)).bounds()
    assert low < -0.5 and high > 0.5


def test_as_many_photos_as_are_said_decide() -> None:
    found = drawn(one_each(60))
    assert found.p_within(0.05) > 0.05 - 1e-9 or found.bounds()[1] < 0.05
    needed = photos_to_decide(found, 60, 0.02, 0.05, 0.05)
    assert needed is not None and 100 < needed < 250
    assert drawn(one_each(round(1.2 * needed))).p_within(0.02) <= 0.05
    assert drawn(one_each(round(0.7 * needed))).p_within(0.02) > 0.05


def test_a_drop_on_the_bound_is_never_decided() -> None:
    found = drawn(one_each(200, lost=10))
    observed = found.reference - found.value
    assert photos_to_decide(found, 200, observed, 0.05, 0.05) is None


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_neither_bound_is_wrong_more_often_than_said(kind: Kind) -> None:
    """80 runs on the bound of two points: 5 % wrong and three errors of the simulation are 12.3 %."""
    share, runs = share_for(kind, 0.02), 80
    drop = true_drop(kind, share)
    wrong_low = wrong_high = 0
    for run in range(runs):
        rng = np.random.default_rng(run)
        low, high = drawn(pair(world(rng, 40), kind, share, rng)).bounds()
        wrong_low += low > drop
        wrong_high += high < drop
    assert max(wrong_low, wrong_high) <= 0.123 * runs
