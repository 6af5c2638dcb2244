"""The measures of similarity against their definitions, worked out by hand or the slow way."""

import numpy as np
import pytest

from edgetl.finetune.advice.similarity import leep, logme, measure, neighbour_accuracy
from edgetl.types import Array


def clouds(samples: int, width: int, apart: float) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    truths = np.arange(samples) % 2
    return rng.normal(size=(samples, width)) + apart * truths[:, None], truths


@pytest.mark.parametrize("width", [4, 50])
def test_logme_is_the_largest_evidence(width: int) -> None:
    """Expected: the density of the targets under N(0, I / beta + F Fᵀ / alpha), largest on ever finer grids."""
    features, truths = clouds(30, width, 0.4)
    gram = features @ features.T

    def log_density(alpha: float, beta: float, target: Array) -> float:
        covariance = np.eye(30) / beta + gram / alpha
        distance = float(target @ np.linalg.solve(covariance, target))
        return -(distance + float(np.linalg.slogdet(2 * np.pi * covariance)[1])) / 2

    def largest(target: Array) -> float:
        centre, reach, best = (1.0, 1.0), 6.0, -np.inf
        for _ in range(6):
            steps = np.linspace(-reach, reach, 17)
            tried = [(centre[0] + one, centre[1] + other) for one in steps for other in steps]
            found = [log_density(float(np.exp(a)), float(np.exp(b)), target) for a, b in tried]
            centre, best, reach = tried[int(np.argmax(found))], max(found), reach / 5
        return best

    best = [largest((truths == label).astype(float)) for label in (0, 1)]
    assert logme(features, truths) == pytest.approx(np.mean(best) / 30, abs=1e-3)


def test_leep_by_hand() -> None:
    """P(y | z): source class 0 saw (0.9 + 0.6) of label 0 and 0.2 of label 1, class 1 (0.1 + 0.4) and 0.8."""
    source = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    given_0, given_1 = np.array([1.5, 0.2]) / 1.7, np.array([0.5, 0.8]) / 1.3
    right = [
        0.9 * given_0[0] + 0.1 * given_1[0],
        0.6 * given_0[0] + 0.4 * given_1[0],
        0.2 * given_0[1] + 0.8 * given_1[1],
    ]
    assert leep(source, np.array([0, 0, 1])) == pytest.approx(np.mean(np.log(right)))


def test_leep_of_a_head_that_knows_the_classes_is_zero_and_of_a_blind_one_the_entropy() -> None:
    truths = np.arange(10) % 2
    assert leep(np.eye(5)[truths], truths) == pytest.approx(0)
    assert leep(np.full((10, 5), 0.2), truths) == pytest.approx(np.log(0.5))


def test_neighbours_are_compared_by_direction() -> None:
    """Two rays from the origin: lengths mix the classes, directions part them."""
    truths = np.arange(40) % 2
    lengths = np.random.default_rng(0).uniform(0.1, 100, 40)
    rays = np.array([[1.0, 0.1], [1.0, -0.1]])[truths] * lengths[:, None]
    assert neighbour_accuracy(rays, truths, seed=0) == 1.0


def test_a_sample_is_not_its_own_neighbour() -> None:
    """One neighbour, and that is always of the other class."""
    angles = np.array([0.0, 0.01, 1.0, 1.01])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert neighbour_accuracy(features, np.array([0, 1, 0, 1]), k=1, seed=0) == 0.0


def test_every_measure_prefers_features_that_part_the_classes() -> None:
    (good, truths), (poor, _) = clouds(120, 20, 1.0), clouds(120, 20, 0.05)
    better = measure(good, truths, good[:, :2] * [-3, 3], 2, seed=0)
    worse = measure(poor, truths, poor[:, :2] * [-3, 3], 2, seed=0)
    assert better.probe_top1 > 0.9 > 0.7 > worse.probe_top1
    assert better.neighbour_top1 > worse.neighbour_top1 and better.logme > worse.logme
    assert better.leep is not None and worse.leep is not None and better.leep > worse.leep
    assert (better.chance, better.samples, better.classes) == (0.5, 120, 2)
    assert better.corrected_top1 == pytest.approx(2 * better.probe_top1 - 1)


def test_without_a_source_head_there_is_no_leep() -> None:
    features, truths = clouds(40, 5, 1.0)
    assert measure(features, truths, None, 2, seed=0).leep is None
