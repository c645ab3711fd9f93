"""The best of many trials owes something to luck: it is run again, with other seeds, and so are the presets."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sg_pipeline.config.sweep import SweepConfig
from sg_pipeline.sweep.claims import Claims
from sg_pipeline.sweep.runs import Runner, SweepRun, make_run
from sg_pipeline.sweep.space import PRESETS, schedule_parameters

logger = logging.getLogger(__name__)

_POLL = 5.0


@dataclass(frozen=True)
class Contender:
    """A schedule that is run again.

    Attributes:
        label: "trial-0007", or the preset's name.
        parameters: what makes it, by dotted name.
        preset: it is one.
    """

    label: str
    parameters: Mapping[str, Any]
    preset: bool

    def run(self, sweep: SweepConfig, seed: int) -> SweepRun:
        """Return its run with a seed."""
        return make_run(
            f"{sweep.name}/{self.label}-seed{seed}", self.parameters,
            seed=seed, steps=sweep.confirm_steps or sweep.steps, validate_every=sweep.validate_every,
        )  # fmt: skip


def contenders(sweep: SweepConfig, search: Mapping[str, Any]) -> list[Contender]:
    """Return the presets, then the best searched trials: of the Pareto front, where there is one."""
    trials = {trial["number"]: trial for trial in search["trials"]}
    own = {trial["preset"]: trial["parameters"] for trial in trials.values() if trial["preset"]}
    found = [
        Contender(preset, own.get(preset) or schedule_parameters(PRESETS[preset]), preset=True)
        for preset in sweep.presets
    ]
    eligible = [n for n in search["ranking"] if not trials[n]["preset"] and n in (search["front"] or search["ranking"])]
    # A trial that is a preset in all but name would be run twice.
    best = [n for n in eligible if trials[n]["parameters"] not in [dict(c.parameters) for c in found]]
    return found + [
        Contender(f"trial-{n:04d}", trials[n]["parameters"], preset=False) for n in best[: sweep.candidates]
    ]


def confirm(
    sweep: SweepConfig, chosen: Sequence[Contender], runner: Runner, claims: Claims, poll: float = _POLL
) -> None:
    """Make the runs of the contenders that are not there yet, together with the other workers, and wait for all.

    Args:
        sweep: names the seeds.
        chosen: who is run.
        runner: starts the runs.
        claims: say which ones another worker is at.
        poll: seconds between two looks at what others are at.
    """
    # Seed by seed: if this ends early, there are whole comparisons.
    runs = [contender.run(sweep, seed) for seed in sweep.confirm_seeds for contender in chosen]
    missing = [run for run in runs if not runner.is_finished(run)]
    if missing:
        logger.info("%d schedules are run again with %d seeds: %d runs to make", len(chosen), len(sweep.confirm_seeds),
                    len(missing))  # fmt: skip
    while missing:
        made = False
        for run in missing:
            if not claims.take(run.name):
                continue
            try:
                if not runner.is_finished(run):
                    logger.info("%s begins", run.name)
                    runner.finish(run)
                    made = True
            finally:
                claims.release(run.name)
        missing = [run for run in missing if not runner.is_finished(run)]
        if missing and not made:
            time.sleep(poll)
