"""The fast ways to the linear head lead where the plain one does."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from edgetl.errors import DataError
from edgetl.finetune.head.folds import stratified_folds, stratified_rows
from edgetl.finetune.head.logistic import GRID, fit_head
from edgetl.finetune.head.streamed import CHUNK, fit_streamed, scale_of
from edgetl.types import Array, silent


def clouds(samples: int, width: int, classes: int, *, apart: float = 1.0, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    truths = np.arange(samples) % classes
    centres = rng.normal(size=(classes, width)) * apart
    return (rng.normal(size=(samples, width)) + centres[truths]).astype(np.float32), truths


def log_softmax(logits: Array) -> Array:
    return np.asarray(torch.log_softmax(torch.from_numpy(logits).double(), 1).numpy())


def log_loss(logits: Array, truths: Array) -> float:
    return float(-log_softmax(logits)[np.arange(len(truths)), truths].mean())


@pytest.mark.parametrize("classes", [2, 5])
def test_fewer_samples_than_features_give_the_plain_fit(classes: int) -> None:
    """Expected: scikit-learn on all 200 standardised features, without a rotation."""
    features, truths = clouds(60, 200, classes, apart=0.2)
    features[:, 7] = 3  # rank and standard deviation both lack something
    head = fit_head(features, truths, classes, seed=0, track=silent)
    std = np.where(features.std(0) > 1e-6, features.std(0), 1)
    scaled = ((features - features.mean(0)) / std).astype(np.float64)
    plain = LogisticRegression(C=head.c, max_iter=5000, tol=1e-8).fit(scaled, truths)
    assert np.allclose(log_softmax(head.logits(features)), plain.predict_log_proba(scaled), atol=1e-3)


def test_the_search_for_c_ends_when_the_loss_keeps_rising() -> None:
    """Noise: strong regularisation is best, and nobody needs to try the weaker ones."""
    rng = np.random.default_rng(0)
    head = fit_head(rng.normal(size=(80, 100)), np.arange(80) % 2, 2, seed=0, track=silent)
    losses = [candidate.log_loss for candidate in head.candidates]
    assert len(losses) < len(GRID) and losses[-3] < losses[-2] < losses[-1]
    assert head.c == head.candidates[int(np.argmin(losses))].c


def test_out_of_fold_answers_are_those_of_the_chosen_c() -> None:
    features, truths = clouds(90, 10, 3, apart=0.5)
    head = fit_head(features, truths, 3, seed=0, track=silent)
    chosen = min(head.candidates, key=lambda candidate: candidate.log_loss)
    assert head.out_of_fold.shape == (90, 3) and np.array_equal(head.out_of_fold_rows, np.arange(90))
    assert log_loss(head.out_of_fold, truths) == pytest.approx(chosen.log_loss, abs=1e-5)
    assert np.mean(head.out_of_fold.argmax(1) == truths) == pytest.approx(chosen.top1)


def test_copies_in_one_group_do_not_flatter_the_accuracy() -> None:
    """Noise four times over: without groups every held-out sample is known already."""
    rng = np.random.default_rng(0)
    features, truths = np.tile(rng.normal(size=(40, 60)), (4, 1)), np.tile(np.arange(40) % 2, 4)
    groups = np.tile(np.arange(40), 4)
    blind = fit_head(features, truths, 2, seed=0, track=silent)
    honest = fit_head(features, truths, 2, seed=0, track=silent, groups=groups)
    assert max(each.top1 for each in blind.candidates) > 0.95
    assert max(each.top1 for each in honest.candidates) < 0.7


def test_a_class_of_one_group_is_never_learned_when_it_is_held_out() -> None:
    features, truths = clouds(60, 5, 3)
    groups = np.where(truths == 2, 100, np.arange(60))
    head = fit_head(features, truths, 3, seed=0, track=silent, groups=groups)
    assert np.allclose(head.out_of_fold[truths == 2, 2], np.log(1e-12))
    with pytest.raises(DataError, match="single class"):
        fit_head(features[truths < 2], truths[truths < 2], 2, seed=0, track=silent, groups=truths[truths < 2])


def test_no_group_is_on_both_sides_of_a_fold() -> None:
    groups = np.arange(60) // 3
    for train, held_out in stratified_folds(np.arange(60) % 2, 5, seed=0, groups=groups):
        assert not set(groups[train]) & set(groups[held_out])


def test_a_weight_counts_like_copies() -> None:
    """Expected: a head on data in which each sample of class 1 stands three times, at the same C."""
    features, truths = clouds(80, 4, 2, apart=0.3)
    weights = np.where(truths == 1, 3.0, 1.0)
    head = fit_head(features, truths, 2, seed=0, track=silent, sample_weight=weights)
    scaled = (features - features.mean(0)) / features.std(0)
    copies = np.repeat(np.arange(80), weights.astype(int))
    plain = LogisticRegression(C=head.c / 2, tol=1e-8, max_iter=5000).fit(scaled[copies], truths[copies])
    assert np.allclose(log_softmax(head.logits(features)), plain.predict_log_proba(scaled), atol=1e-3)


class OnDisk:
    """Features that count how many rows were ever asked for at once."""

    def __init__(self, features: Array) -> None:
        self.features, self.most = features, 0

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, positions: NDArray[np.int64]) -> Array:
        self.most = max(self.most, len(positions))
        return np.asarray(self.features[positions])


@pytest.mark.parametrize("c", [1e-4, 1e-2, 1.0])
def test_the_streamed_fit_reaches_scikit_learns_optimum(c: float) -> None:
    """Expected: scikit-learn's own minimum; more than a hundredth above it on unseen samples is a worse head."""
    features, truths = clouds(30_000, 40, 10, apart=0.4)
    unseen, answers = features[20_000:], truths[20_000:]
    features, truths = features[:20_000] * 5 + 2, truths[:20_000]
    disk = OnDisk(features)
    scale = scale_of(disk)
    weight, bias = fit_streamed(disk, truths, 10, np.ones(20_000), scale, c, seed=0, track=silent)
    plain = LogisticRegression(C=c, max_iter=2000).fit(scale(features), truths)
    scaled = scale(unseen * 5 + 2)
    streamed, expected = scaled @ weight.T + bias, plain.decision_function(scaled)
    assert log_loss(streamed, answers) < log_loss(expected, answers) + 0.01
    assert np.mean(streamed.argmax(1) == answers) > np.mean(expected.argmax(1) == answers) - 0.005
    assert disk.most <= CHUNK


def test_many_samples_are_streamed() -> None:
    features, truths = clouds(20_600, 6, 2, apart=0.5)
    disk = OnDisk(features)
    head = fit_head(disk, truths, 2, seed=0, track=silent)
    assert disk.most <= 10_000 and len(head.out_of_fold_rows) <= 10_000
    plain = LogisticRegression(C=head.c).fit(features, truths)
    assert np.mean(head.logits(features).argmax(1) == truths) > plain.score(features, truths) - 0.005


def test_mean_and_deviation_in_chunks_are_those_of_the_whole() -> None:
    features = np.random.default_rng(0).normal(1000, 2, (20_001, 3))
    scale = scale_of(features)
    assert np.allclose(scale.mean, features.mean(0)) and np.allclose(scale.std, features.std(0))


def test_a_stratified_part_keeps_every_class_and_the_proportions() -> None:
    truths = np.repeat([0, 1, 2], [9000, 900, 3])
    counts = np.bincount(truths[stratified_rows(truths, 1000, seed=0)])
    assert counts[2] == 2 and counts[0] / counts[1] == pytest.approx(10, rel=0.05) and counts.sum() <= 1001
