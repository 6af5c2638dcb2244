"""Draws the options of a trial from its number and the trials before it, whichever process asks."""

import warnings
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial

from edgetl.finetune.sweep.space import Space

RANDOM_TRIALS = 8
"""So many trials are drawn at random before the sampler trusts what it has seen."""


class NumberedSampler(BaseSampler):
    """A tree-structured Parzen estimator, seeded anew for every trial (Bergstra et al., NeurIPS 2011).

    Optuna's own draws from one stream: a sweep that goes on would repeat its first trials, and processes with the same
    seed would all try the same. The first trials are the strategies' defaults.
    """

    def __init__(self, space: Space, seed: int) -> None:
        self.space, self.seed = space, seed
        self._drawing: tuple[int, TPESampler] | None = None

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        if self.space.first(trial.number):
            return {}
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._of(trial).sample_relative(study, trial, search_space) if search_space else {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        default = self.space.first(trial.number)
        if param_name in default:
            return default[param_name]
        return self._of(trial).sample_independent(study, trial, param_name, param_distribution)

    def _of(self, trial: FrozenTrial) -> TPESampler:
        """The estimator of this trial; the options of each strategy are a group of their own."""
        if self._drawing is None or self._drawing[0] != trial.number:
            seed = int(np.random.SeedSequence([self.seed, trial.number]).generate_state(1)[0])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                made = TPESampler(seed=seed, multivariate=True, group=True, n_startup_trials=RANDOM_TRIALS)
            self._drawing = trial.number, made
        return self._drawing[1]
