"""Scores are those computed by hand, and classes without samples or many classes are no problem."""

import time

import msgspec
import numpy as np
import pytest
from sklearn.metrics import top_k_accuracy_score

from edgetl.errors import DataError
from edgetl.finetune.evaluation.metrics import Evaluation, evaluate


def certain(predicted: list[int], labels: int, probability: float = 0.9) -> np.ndarray:
    """Logits whose softmax gives `probability` to the predicted label and shares the rest evenly."""
    rest = (1 - probability) / (labels - 1)
    logits = np.full((len(predicted), labels), np.log(rest), np.float32)
    logits[np.arange(len(predicted)), predicted] = np.log(probability)
    return logits


def test_scores_of_five_samples_computed_by_hand() -> None:
    found = evaluate(certain([0, 0, 1, 1, 2], 3), np.array([0, 0, 0, 1, 2]), ("a", "b", "c"))
    a, b, c = found.classes
    assert (a.samples, a.precision, a.recall, a.f1) == pytest.approx((3, 1, 2 / 3, 0.8))
    assert (b.samples, b.precision, b.recall, b.f1) == pytest.approx((1, 0.5, 1, 2 / 3))
    assert (c.samples, c.precision, c.recall, c.f1) == pytest.approx((1, 1, 1, 1))
    assert found.metrics == pytest.approx(
        {
            "top1": 0.8,
            "macro_f1": (0.8 + 2 / 3 + 1) / 3,
            "balanced_accuracy": (2 / 3 + 1 + 1) / 3,
            "ece": 0.1,  # one bin: confidence 0.9, right 0.8
            "log_loss": -(4 * np.log(0.9) + np.log(0.05)) / 5,
        },
        abs=1e-6,
    )
    assert found.confusion == ((0, 0, 2), (0, 1, 1), (1, 1, 1), (2, 2, 1))


def test_a_label_without_samples_neither_warns_nor_counts() -> None:
    found = evaluate(certain([0, 1, 3], 4), np.array([0, 1, 1]), ("a", "b", "absent", "predicted only"))
    assert [score.samples for score in found.classes] == [1, 2, 0, 0]
    assert found.metrics["macro_f1"] == pytest.approx((1 + 2 / 3) / 2)
    assert found.metrics["balanced_accuracy"] == pytest.approx((1 + 0.5) / 2)


def test_top5_agrees_with_scikit_learn_and_is_absent_for_five_labels() -> None:
    rng = np.random.default_rng(0)
    logits, truths = rng.normal(size=(500, 12)).astype(np.float32), rng.integers(0, 12, 500)
    expected = top_k_accuracy_score(truths, logits, k=5, labels=np.arange(12))
    assert evaluate(logits, truths, tuple("abcdefghijkl")).metrics["top5"] == pytest.approx(expected)
    assert "top5" not in evaluate(logits[:, :5], truths % 5, tuple("abcde")).metrics


def test_equal_logits_do_not_count_as_right() -> None:
    found = evaluate(np.zeros((10, 10), np.float32), np.arange(10), tuple("abcdefghij"))
    assert (found.metrics["top1"], found.metrics["top5"]) == (0.1, 0.5)


def test_temperature_changes_only_the_probabilities() -> None:
    logits, truths = certain([0, 1, 1], 2), np.array([0, 1, 0])
    sharp, soft = evaluate(logits, truths, ("a", "b")), evaluate(logits, truths, ("a", "b"), temperature=3.0)
    assert sharp.classes == soft.classes and sharp.metrics["log_loss"] > soft.metrics["log_loss"]


def test_an_evaluation_survives_json() -> None:
    found = evaluate(certain([0, 1, 1], 2), np.array([0, 1, 0]), ("a", "b"))
    assert msgspec.json.decode(msgspec.json.encode(found), type=Evaluation) == found


@pytest.mark.parametrize("logits", [np.zeros((0, 2), np.float32), np.array([[np.nan, 0]], np.float32)])
def test_nothing_to_score_is_a_data_error(logits: np.ndarray) -> None:
    with pytest.raises(DataError):
        evaluate(logits, np.zeros(len(logits), np.int64), ("a", "b"))


def test_a_thousand_labels_take_seconds_and_little_room() -> None:
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((10_000, 1000), np.float32)
    truths = rng.integers(0, 1000, 10_000)
    began = time.perf_counter()
    found = evaluate(logits, truths, tuple(map(str, range(1000))))
    assert time.perf_counter() - began < 10
    assert len(found.confusion) <= 10_000 and found.metrics["top5"] < 0.02
