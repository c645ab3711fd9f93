"""How trials are drawn: at random at first, then by TPE, each from a random stream of its own number.

What trial n draws depends on the sweep's seed, on n, and (behind the random ones) on the trials that were there when
it was asked for. One worker therefore draws the same sweep every time, also when it is killed and started again.
With several workers the presets and the random trials are still the same, but which trials are finished when a later
one is drawn depends on their pace: that cannot be promised.
"""

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from sg_pipeline.randomness import derive_seed


class NumberedSampler(BaseSampler):
    """TPE (multivariate, with running trials counted as bad ones), seeded anew for each trial by its number."""

    def __init__(self, seed: int, distributions: Mapping[str, BaseDistribution], startup: int) -> None:
        """Take what is drawn from, and how many trials are drawn at random."""
        self._seed = seed
        self._distributions = dict(distributions)
        self._startup = startup
        self._of_trial: BaseSampler = RandomSampler(seed=0)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Begin the trial's own stream."""
        seed = derive_seed(self._seed, "sweep", trial.number, bits=31)
        if trial.number < self._startup:
            self._of_trial = RandomSampler(seed=seed)
        else:
            self._of_trial = TPESampler(seed=seed, n_startup_trials=1)
        self._of_trial.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the whole space: a preset outside of it has drawn nothing, and must not empty it."""
        return {} if isinstance(self._of_trial, RandomSampler) else self._distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw all dimensions together."""
        return self._of_trial.sample_relative(study, trial, search_space) if search_space else {}

    def sample_independent(self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution) -> Any:
        """Draw one dimension."""
        return self._of_trial.sample_independent(study, trial, name, distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        """Let the sampler note the result; what TPE notes lies in the storage."""
        self._of_trial.after_trial(study, trial, state, values)


def make_pruner(kind: str, startup: int, validate_every: int, steps: int) -> optuna.pruners.BasePruner:
    """Return what stops hopeless trials.

    Args:
        kind: "median", "hyperband" or "none".
        startup: finished trials before any is stopped by the median.
        validate_every, steps: when trials are judged.
    """
    if kind == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=startup)
    if kind == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=validate_every, max_resource=steps, reduction_factor=2)
    return optuna.pruners.NopPruner()
