"""One episode on its way to a trajectory, and what a rollout counts and times."""

import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sg_pipeline.config.rollout import RolloutConfig
from sg_pipeline.environments.base import StepResult
from sg_pipeline.errors import ConfigurationError, DataError
from sg_pipeline.sampling.base import Completion
from sg_pipeline.trajectories.types import Task, Trajectory, Turn

if TYPE_CHECKING:
    from sg_pipeline.agents.format import AgentFormat

COUNTED = (
    "turns",
    "sampled_tokens",
    "invalid_actions",
    "unparsed_guidance",
    "unparsed_actions",
    "cut_completions",
    "cut_observations",
    "truncated_by_turns",
    "truncated_by_tokens",
)


@dataclass(slots=True)
class Episode:
    """One row on its way to a `Trajectory`."""

    task: Task
    group: int
    item: int
    seen: StepResult = field(default_factory=lambda: StepResult(""))
    context: list[int] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    truncated: bool = False

    def trajectory(self, policy_step: int) -> Trajectory:
        """Return what was played; `policy_step` is how many steps the policy has been trained for."""
        return Trajectory(
            task=self.task,
            group=self.group,
            item=self.item,
            policy_step=policy_step,
            turns=tuple(self.turns),
            won=self.seen.won,
            truncated=self.truncated,
            score=self.seen.score,
        )


class Ledger:
    """What happens between environment and sampler, and the books of a rollout.

    Attributes:
        timings: wall seconds by name; all of them together are the time from its making to the last `tick`.
        counters: see `collect.RolloutResult`.
    """

    def __init__(self, config: RolloutConfig, agent_format: "AgentFormat") -> None:
        """Open the books; the clock runs."""
        self.config = config
        self.format = agent_format
        self.timings = {"env_s": 0.0, "sampling_s": 0.0, "format_s": 0.0}
        self.counters: Counter[str] = Counter()
        self._clock = time.perf_counter()

    def goes_on(self, episode: Episode, result: StepResult, length: int) -> bool:
        """Record what the environment answered; make the next context, or end the episode."""
        config = self.config
        if episode.turns:
            last = episode.turns[-1]
            episode.turns[-1] = replace(last, action_valid=result.valid, reward=float(result.reward), done=result.done)
            self.counters["invalid_actions"] += not result.valid
        episode.seen = result
        if result.done:
            if not episode.turns:
                raise DataError(
                    f"task {episode.task.task_id} is over before its first action: take it out of the panel"
                )
            return False
        if len(episode.turns) == config.max_turns:
            self.counters["truncated_by_turns"] += 1
            episode.truncated = True
            return False
        if episode.turns:
            written = episode.turns[-1].completion_ids
            context = self.format.following(written, result.observation, result.admissible)
            limit = config.max_observation_tokens
            if limit is not None and len(context) > limit:
                self.counters["cut_observations"] += 1
                # Both ends stay: they hold the template's tokens.
                context = context[: -(-limit // 2)] + context[len(context) - limit // 2 :]
        else:
            context = self.format.opening(result.observation, result.admissible, result.forms)
        if length + len(context) + config.max_new_tokens > config.max_length:
            if not episode.turns:
                raise ConfigurationError(
                    f"rollout.max_length is {config.max_length}, but the opening of task {episode.task.task_id} takes "
                    f"{len(context)} tokens and a completion up to rollout.max_new_tokens = {config.max_new_tokens}: "
                    f"raise the first to several times {len(context) + config.max_new_tokens}, or lower the second"
                )
            self.counters["truncated_by_tokens"] += 1
            episode.truncated = True
            return False
        episode.context = context
        return True

    def decide(self, episode: Episode, completion: Completion) -> str:
        """Record what the policy wrote and return its action."""
        parsed = self.format.parse(completion.ids)
        self.counters["turns"] += 1
        self.counters["sampled_tokens"] += len(completion.ids)
        self.counters["cut_completions"] += not completion.stopped
        self.counters["unparsed_guidance"] += parsed.polarity is not None and not parsed.guidance_parsed
        self.counters["unparsed_actions"] += not parsed.action_parsed
        episode.turns.append(
            Turn(
                observation=episode.seen.observation,
                context_ids=episode.context,
                completion_ids=completion.ids,
                logprobs=completion.logprobs,
                segments=parsed.segments,
                guidance=parsed.guidance,
                polarity=parsed.polarity,
                guidance_parsed=parsed.guidance_parsed,
                action=parsed.action,
                action_parsed=parsed.action_parsed,
                action_valid=False,  # this and the next two are known when the environment has answered
                reward=0.0,
                done=False,
            )
        )
        return parsed.action

    def tick(self, name: str) -> None:
        """Book the time since the last tick under `name`."""
        now = time.perf_counter()
        self.timings[name] += now - self._clock
        self._clock = now
