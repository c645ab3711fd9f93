"""A live policy that plays: its sampler, its format and its environments, in waves that fit into memory, on all ranks.

Rank r of n plays groups r, r + n, r + 2n, …, so a panel sorted by task type is dealt evenly. An episode's random stream
is named by its group and item, so neither the rank nor the wave that plays it changes the trajectory, beyond what the
shape of a batch does to the last bits of a float. Every rank gets all trajectories back, and everything behind (the
gate, rewards, further rounds of dynamic sampling) gives the same result on all.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg_pipeline.config.environment import EnvironmentConfig
from sg_pipeline.config.rollout import RolloutConfig
from sg_pipeline.config.sampling import SamplingConfig
from sg_pipeline.distributed.world import World, world
from sg_pipeline.environments.pool import open_pool
from sg_pipeline.environments.registry import load_benchmark
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.progress_bar import ProgressBar
from sg_pipeline.rollouts.collect import Attempt, collect
from sg_pipeline.rollouts.result import RolloutResult, in_parallel, in_sequence
from sg_pipeline.trajectories.types import Task

if TYPE_CHECKING:
    from sg_pipeline.agents.format import AgentFormat
    from sg_pipeline.agents.prompts import Prompts
    from sg_pipeline.policies.policy import Policy
    from sg_pipeline.sampling.base import Sampler

TRAIN = "train"
"""The split that every panel has: what is trained on."""


def panel_tasks(panel: dict[str, Any], split: str) -> list[Task]:
    """Return the tasks of one split of a prepared panel (see `environments.base`)."""
    return [Task(**task) for task in panel["splits"][split]]


@dataclass(frozen=True)
class Player:
    """A policy with all that it needs to play.

    Attributes:
        policy, sampling: samples with this engine; its weights are not changed.
        config: limits, temperature, guidance, prompts; rows and cache of a wave.
        data_root, cache_dir: folders of the tasks' games and of their compiled forms.
        seed: the run's seed.
        guide: writes the guidance in the policy's place, where there is guidance. Its tokens are then the only ones of
            `Segment.GUIDANCE`, and the counters of `sampling.two_call` are added. It always samples from its own model,
            whatever engine the policy has.
    """

    policy: "Policy"
    environment: EnvironmentConfig
    config: RolloutConfig
    data_root: Path
    cache_dir: Path
    seed: int
    sampling: SamplingConfig
    guide: "Policy | None" = None

    def play(
        self, attempts: Sequence[Attempt], *, step: int, purpose: str = "rollout", worlds: str | None = None
    ) -> RolloutResult:
        """Play one episode for each attempt, each on one of the ranks; arguments as for `collect`.

        Returns:
            The trajectories of all ranks, in the order of `attempts`.

        Raises:
            SgPipelineError: the error of the first rank that failed, on all ranks.
        """
        here = world()
        names = {"step": step, "purpose": purpose, "worlds": worlds}
        if here.alone:
            return self._play(attempts, names)
        before = here.seconds
        own = dealt(attempts, here)
        results = here.everywhere(lambda: self._play(own, names))
        return _in_order(in_parallel(results, here.gather(here.seconds - before)), attempts)

    def prompts(self) -> "Prompts":
        """Return the prompt set that the configuration names, in the words of the benchmark."""
        from sg_pipeline.agents.prompts import load_prompts

        return load_prompts(self.config.prompts, load_benchmark(self.environment.name).name)

    def sampler(self) -> "Sampler":
        """Return the policy's engine, with its present weights."""
        from sg_pipeline.sampling.base import make_sampler

        return make_sampler(self.policy, self.sampling, self.config.temperature, self.config.max_length)

    def format(self) -> "AgentFormat":
        """Return the text <-> tokens of the policy's turns."""
        from sg_pipeline.agents.format import AgentFormat
        from sg_pipeline.agents.handover import GuidedFormat

        policy, guide, config = self.policy, self.guide, self.config
        if guide is None or not config.guidance:
            return AgentFormat(policy.tokenizer, self.prompts(), config.guidance, policy.stop_ids, config.date)
        return GuidedFormat(policy.tokenizer, self.prompts(), True, policy.stop_ids + guide.stop_ids, config.date)

    def _play(self, attempts: Sequence[Attempt], names: dict[str, Any]) -> RolloutResult:
        """Play on this rank."""
        from sg_pipeline.agents.handover import GuidedFormat
        from sg_pipeline.sampling.transformers_sampler import TransformersSampler
        from sg_pipeline.sampling.two_call import TwoCallSampler

        agent_format = self.format()
        began = time.perf_counter()
        sampler = self.sampler()
        sync_s = time.perf_counter() - began
        if not attempts:  # ranks update a server that they share together
            return RolloutResult()
        counters: Mapping[str, int] = {}
        if self.guide is not None and isinstance(agent_format, GuidedFormat):
            temperature, guide = self.config.temperature, self.guide
            guiding = TransformersSampler(guide.model, temperature, guide.compute, guide.describe())
            sampler = two = TwoCallSampler(guiding, sampler, agent_format.handover)
            counters = two.counters
        pool = open_pool(self.environment, self.data_root, self.cache_dir)
        names = {**names, "seed": self.seed, "policy_step": self.policy.step}
        with ProgressBar(names["purpose"], len(attempts), "episodes") as bar:
            result = in_sequence(
                collect(wave, self.config, sampler, agent_format, pool, ended=bar.update, **names)
                for wave in waves(attempts, rows_at_once(self.config, sampler))
            )
        timings = {**result.timings, "sync_s": sync_s, "total_s": result.timings["total_s"] + sync_s}
        return replace(result, timings=timings, counters={**result.counters, **counters})


def dealt(attempts: Sequence[Attempt], here: World) -> list[Attempt]:
    """Return this rank's attempts: whole groups."""
    groups = list(dict.fromkeys(attempt.group for attempt in attempts))
    own = set(groups[here.rank :: here.size])
    return [attempt for attempt in attempts if attempt.group in own]


def _in_order(result: RolloutResult, attempts: Sequence[Attempt]) -> RolloutResult:
    """Return the result of dealt attempts in their order before."""
    place = {(attempt.group, attempt.item): index for index, attempt in enumerate(attempts)}
    episodes = sorted(
        zip(result.trajectories, result.parts, strict=True), key=lambda pair: place[pair[0].group, pair[0].item]
    )
    return replace(result, trajectories=[one for one, _ in episodes], parts=[parts for _, parts in episodes])


def waves(attempts: Sequence[Attempt], rows: int | None) -> Iterable[list[Attempt]]:
    """Yield the attempts in batches of whole groups: at most `rows` at once, but one group at least; None: all.

    The cache of the transformers sampler is a rectangle, episodes x the longest trajectory; waves bound it.
    """
    wave: list[Attempt] = []
    for _, members in groupby(attempts, key=lambda attempt: attempt.group):
        group = list(members)
        if wave and rows is not None and len(wave) + len(group) > rows:
            yield wave
            wave = []
        wave += group
    if wave:
        yield wave


def rows_at_once(config: RolloutConfig, sampler: "Sampler") -> int | None:
    """Return how many episodes are played at once: `rows`, and as many as fit into `cache_gib`; None: all.

    Raises:
        ConfigurationError: not even one group fits into `cache_gib`.
    """
    if config.cache_gib is None or not (one := sampler.row_bytes(config.max_length)):
        return config.rows
    fit = int(config.cache_gib * 2**30 / one)
    if fit < config.group_size:
        group = config.group_size * one / 2**30
        raise ConfigurationError(
            f"rollout.cache_gib is {config.cache_gib:g}, but the keys and values of one group ({config.group_size} "
            f"episodes of up to max_length = {config.max_length} tokens) take {group:.2g} GiB: "
            "raise it, or lower rollout.max_length or the size of a group"
        )
    return fit if config.rows is None else min(fit, config.rows)
