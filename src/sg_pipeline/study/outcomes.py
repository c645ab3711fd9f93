"""What a method achieved on one panel: every seed on every game, aligned so that methods can be paired."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sg_pipeline.errors import DataError

FEWEST_OF_A_KIND = 5
"""Task types with fewer games are one stratum together: a game alone in its stratum would never be resampled."""

OTHERS = "others"


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Outcomes of one method on one panel.

    Attributes:
        rates: (S, G) share of the episodes won, or their mean score, by seed and game; in a difference of two methods
            from -1 to 1.
        seeds: the S seeds, sorted.
        games: the G games, sorted.
        kinds: names of the K task types.
        kind_of: (G,) each game's index in `kinds`.
        bounds: the least and the greatest that a rate can be.
    """

    rates: np.ndarray
    seeds: tuple[int, ...]
    games: tuple[str, ...]
    kinds: tuple[str, ...]
    kind_of: np.ndarray
    bounds: tuple[float, float] = (0.0, 1.0)

    @property
    def shares(self) -> np.ndarray:
        """(K,) the share of the games that is of each type."""
        return np.bincount(self.kind_of, minlength=len(self.kinds)) / len(self.games)

    def point_scores(self) -> np.ndarray:
        """(S, K) mean of each seed on each task type."""
        return self.scores(np.arange(len(self.seeds))[None], np.ones((1, len(self.games))))[0]

    def scores(self, picks: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Return the scores of resamples.

        Args:
            picks: (R, S') indices of seeds.
            counts: (R, G) how often each game counts; the counts of a type add up to its number of games.

        Returns:
            (R, S', K) mean of each picked seed on each task type.
        """
        scores = np.empty((len(counts), len(self.seeds), len(self.kinds)))
        for kind in range(len(self.kinds)):
            members = self.kind_of == kind
            scores[:, :, kind] = counts[:, members] @ self.rates[:, members].T / members.sum()
        return np.take_along_axis(scores, picks[:, :, None], axis=1)


def build_outcomes(
    per_game: Mapping[int, Mapping[str, Sequence[float]]], task_types: Mapping[str, str], what: str
) -> Outcomes:
    """Align the games of several seeds.

    Args:
        per_game: seed -> game -> (wins, episodes), as in an evaluation's `per_game`, or (sum of scores, episodes).
        task_types: game -> task type.
        what: what these outcomes are of, for the error.

    Raises:
        DataError: the seeds have not played the same games, or a game's task type is not known.
    """
    seeds = tuple(sorted(per_game))
    games = tuple(sorted(per_game[seeds[0]]))
    for seed in seeds[1:]:
        if set(per_game[seed]) != set(games):
            raise DataError(
                f"{what}: seed {seed} was evaluated on {len(per_game[seed])} games and seed {seeds[0]} on "
                f"{len(games)}, and not on the same ones: evaluate both on one panel (evaluate.splits, evaluate.games)."
            )
    unknown = sorted(set(games) - set(task_types))
    if unknown:
        raise DataError(f"{what}: the panel does not name the task type of game {unknown[0]}: it is of another panel.")
    kinds, kind_of = _strata([task_types[game] for game in games])
    rates = np.array([[per_game[seed][game][0] / per_game[seed][game][1] for game in games] for seed in seeds])
    return Outcomes(rates, seeds, games, kinds, kind_of)


def pair(left: Outcomes, right: Outcomes) -> tuple[Outcomes, Outcomes] | None:
    """Cut two methods down to the seeds and games that both have; None where there are none in common."""
    seeds = tuple(seed for seed in left.seeds if seed in right.seeds)
    games = tuple(game for game in left.games if game in set(right.games))
    return (_of(left, seeds, games), _of(right, seeds, games)) if seeds and games else None


def difference(left: Outcomes, right: Outcomes) -> Outcomes:
    """left - right; both of the same seeds and games."""
    return replace(left, rates=left.rates - right.rates, bounds=(-1.0, 1.0))


def _of(outcomes: Outcomes, seeds: tuple[int, ...], games: tuple[str, ...]) -> Outcomes:
    rows = [outcomes.seeds.index(seed) for seed in seeds]
    place = {game: index for index, game in enumerate(outcomes.games)}
    columns = [place[game] for game in games]
    kinds, kind_of = _strata([outcomes.kinds[outcomes.kind_of[column]] for column in columns])
    return Outcomes(outcomes.rates[np.ix_(rows, columns)], seeds, games, kinds, kind_of, outcomes.bounds)


def _strata(types: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray]:
    common = {kind for kind in set(types) if types.count(kind) >= FEWEST_OF_A_KIND}
    named = [kind if kind in common else OTHERS for kind in types]
    kinds = tuple(sorted(set(named)))
    return kinds, np.array([kinds.index(kind) for kind in named])
