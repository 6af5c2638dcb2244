"""Distances between logits stay finite and orderly, whatever a broken engine answers."""

import msgspec
import numpy as np
import pytest

from edgetl.devices.hypotheses import graph_cause
from edgetl.devices.numerics import Distance, compare

REFERENCE = np.random.default_rng(0).normal(size=(32, 3)).astype(np.float32)


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf, 3e38, -9e36])
def test_a_broken_answer_gives_a_distance_that_json_can_carry(broken: float) -> None:
    answers = REFERENCE.copy()
    answers[3] = broken
    answers[4, 1] = -broken
    distance = compare(answers, REFERENCE)
    assert msgspec.json.decode(msgspec.json.encode(distance), type=Distance) == distance
    assert distance.sqnr_db < -100 and distance.max_abs_dlogit > 1e30
    assert graph_cause(answers, REFERENCE, {"fault": -REFERENCE}, ("a", "b", "c")) is None


def test_the_distance_of_equal_answers_is_nothing() -> None:
    distance = compare(REFERENCE, REFERENCE)
    assert (distance.max_abs_dlogit, distance.kl, distance.agreement) == (0, 0, 1)
