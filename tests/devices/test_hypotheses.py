"""Causes are named when they explain the answers, and never otherwise."""

import numpy as np
import pytest

from edgetl.devices.hypotheses import graph_cause

RNG = np.random.default_rng(0)
REFERENCE = RNG.normal(0, 3, (64, 10))
OTHER = REFERENCE + RNG.normal(0, 1.5, REFERENCE.shape)
LABELS = tuple("abcdefghij")


def test_noise_has_no_cause() -> None:
    noisy = REFERENCE + RNG.normal(0, 0.3, REFERENCE.shape)
    assert graph_cause(noisy, REFERENCE, {"fault": OTHER}, LABELS) is None
    assert graph_cause(REFERENCE, REFERENCE, {"fault": OTHER}, LABELS) is None


def test_the_hypothesis_that_fits_is_named_through_noise() -> None:
    noisy = OTHER[:40] + RNG.normal(0, 0.3, (40, 10))
    assert graph_cause(noisy, REFERENCE[:40], {"wrong": -REFERENCE[:40], "fault": OTHER[:40]}, LABELS) == "fault"


def test_a_hypothesis_that_changes_nothing_is_never_named() -> None:
    """Grey pictures look the same with red and blue swapped."""
    noisy = REFERENCE + RNG.normal(0, 2, REFERENCE.shape)
    assert graph_cause(noisy, REFERENCE, {"swap": REFERENCE.copy()}, LABELS) is None


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_exchanged_outputs_are_named(noise: float) -> None:
    order = [0, 5, 2, 3, 4, 1, 6, 7, 8, 9]
    exchanged = REFERENCE[:, order] + RNG.normal(0, noise, REFERENCE.shape)
    cause = graph_cause(exchanged, REFERENCE, {}, LABELS)
    assert cause == "outputs exchanged: `b` carries `f`, `f` carries `b`"


def test_two_of_a_thousand_outputs_exchanged_are_found_though_the_ratio_is_fine() -> None:
    reference = RNG.normal(0, 3, (128, 1000))
    exchanged = reference + RNG.normal(0, 0.3, reference.shape)
    exchanged[:, [17, 900]] = exchanged[:, [900, 17]]
    labels = tuple(map(str, range(1000)))
    assert graph_cause(exchanged, reference, {}, labels) == "outputs exchanged: `17` carries `900`, `900` carries `17`"


def test_answers_that_are_not_finite_have_no_cause_but_do_not_crash() -> None:
    assert graph_cause(np.full_like(REFERENCE, np.nan), REFERENCE, {"fault": OTHER}, LABELS) is None
