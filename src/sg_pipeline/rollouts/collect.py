"""Plays a batch of episodes to their ends, each from its task to its trajectory.

    task ─► observation ─► context ─► completion ─► action ─┐
                ▲          (format)   (sampler)    (format) │ environment
                └───────────────────────────────────────────┘

There are two ways to take turns; both give the same trajectories.

*In step*, all episodes take a turn together, in one batch. This is best where the sampler gains from large batches and
the environments are fast. (Sampling one half while the environments play the other was tried: on two cores the smaller
batches cost a third more sampling time, which is more than the fast ALFWorld engine takes in total.)

*Streaming*, each episode continues as soon as its own answer is available. This needs an engine that accepts requests
at any time, and keeps it busy while slow environments work.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sg_pipeline.config.rollout import RolloutConfig
from sg_pipeline.environments.base import StepResult
from sg_pipeline.environments.pool import EnvironmentPool
from sg_pipeline.errors import ConfigurationError, DataError
from sg_pipeline.randomness import derive_seed, stream
from sg_pipeline.rollouts.result import RolloutResult
from sg_pipeline.sampling.base import Completion, Sampler, Session, StreamingSession
from sg_pipeline.trajectories.types import Task, Trajectory, Turn

if TYPE_CHECKING:
    from sg_pipeline.agents.format import AgentFormat

_COUNTERS = (
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


@dataclass(frozen=True, slots=True)
class Attempt:
    """An episode to be played.

    Attributes:
        task: the game.
        group: index of its group: all attempts at one task. They start from the same world.
        item: index within the group.
        memory: text in front of the first observation, such as Reflexion's notes on earlier attempts; empty: none.
    """

    task: Task
    group: int
    item: int
    memory: str = ""


def attempts_at(tasks: Sequence[Task], group_size: int, first_group: int = 0) -> list[Attempt]:
    """Return `group_size` attempts at each task; the groups are numbered from `first_group`."""
    return [Attempt(task, group, item) for group, task in enumerate(tasks, first_group) for item in range(group_size)]


def collect(
    attempts: Sequence[Attempt],
    config: RolloutConfig,
    sampler: Sampler,
    agent_format: "AgentFormat",
    pool: EnvironmentPool,
    *,
    seed: int,
    step: int,
    policy_step: int | None = None,
    purpose: str = "rollout",
    worlds: str | None = None,
    ended: Callable[[int], object] = lambda episodes: None,
) -> RolloutResult:
    """Play one episode for each attempt.

    Args:
        attempts: what to play, in any number and order.
        config: limits of turns and tokens; the sampler, the format and the attempts were made by the rest of it.
        sampler, agent_format: of one policy.
        pool: plays the tasks; its open episodes are replaced.
        seed, step: the run's seed; with step, `purpose`, group and item it names the random stream of an episode.
        policy_step: how many steps the policy has been trained for; None: `step`.
        purpose: separates the random streams of a rollout from those of, say, an evaluation at the same step.
        worlds: names the environments' seeds in place of `purpose`, so that several rollouts may share their worlds.
        ended: called with the number of episodes that have just ended.

    Raises:
        ConfigurationError: an opening does not fit into `max_length`.
        DataError: a game cannot be loaded, or is over at its start.
        EnvironmentFailure: an environment failed more often than the pool allows.
    """
    began, before = time.perf_counter(), pool.counters
    streams = [stream(seed, step, purpose, attempt.group, attempt.item) for attempt in attempts]
    # One seed per group: its episodes start from the same world and differ only by what the policy samples.
    seeds = [derive_seed(seed, step, worlds or purpose, "environment", attempt.group, bits=31) for attempt in attempts]
    batch = _Batch(attempts, config, agent_format, sampler.open(streams, config.max_length), pool, ended)
    if isinstance(batch.session, StreamingSession):
        batch.play_streaming(batch.session, seeds)
    else:
        batch.play_in_step(seeds)
    after = pool.counters
    trained = step if policy_step is None else policy_step
    timings = {"sync_s": 0.0, "total_s": time.perf_counter() - began, "env_cpu_s": after.cpu_s - before.cpu_s}
    workers = {"worker_restarts": after.restarts - before.restarts, "replayed_episodes": after.replays - before.replays}
    return RolloutResult(
        [episode.trajectory(trained) for episode in batch.episodes],
        batch.timings | timings,
        batch.counters | workers,
        [episode.seen.parts for episode in batch.episodes],
    )


@dataclass(slots=True)
class _Episode:
    """An attempt being played: the environment's latest answer, the tokens before the next completion, turns so far."""

    attempt: Attempt
    seen: StepResult = field(default_factory=lambda: StepResult(""))
    context: list[int] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    truncated: bool = False

    def trajectory(self, policy_step: int) -> Trajectory:
        played, seen = self.attempt, self.seen
        return Trajectory(
            played.task, played.group, played.item, policy_step, tuple(self.turns), seen.won, self.truncated, seen.score
        )


class _Batch:
    """Episodes in progress; row i of session and pool is `episodes[i]`.

    `timings` are wall seconds by what this process did or waited for; they add up to the time since construction.
    """

    def __init__(
        self,
        attempts: Sequence[Attempt],
        config: RolloutConfig,
        agent_format: "AgentFormat",
        session: Session,
        pool: EnvironmentPool,
        ended: Callable[[int], object],
    ) -> None:
        self.episodes = [_Episode(attempt) for attempt in attempts]
        self._tasks, self._groups = [one.task for one in attempts], [one.group for one in attempts]
        self.session = session
        self.timings = {"env_s": 0.0, "sampling_s": 0.0, "format_s": 0.0}
        self.counters = dict.fromkeys(_COUNTERS, 0)
        self._config = config
        self._format = agent_format
        self._pool = pool
        self._ended = ended
        self._clock = time.perf_counter()

    def play_in_step(self, seeds: Sequence[int]) -> None:
        """Play all episodes to their ends, one turn of each at a time."""
        stop_ids, limit = self._format.stop_ids, self._config.max_new_tokens
        active = list(range(len(self.episodes)))
        results = self._pool.reset(self._tasks, seeds, self._groups)
        while True:
            self._tick("env_s")
            going_on = [row for row, result in zip(active, results, strict=True) if self._observe(row, result)]
            self._ended(len(active) - len(going_on))
            active = going_on
            contexts = [self.episodes[row].context for row in active]
            self._tick("format_s")
            if not active:
                return
            completions = self.session.extend(active, contexts, stop_ids, limit)
            self._tick("sampling_s")
            actions = [self._act(row, completion) for row, completion in zip(active, completions, strict=True)]
            self._tick("format_s")
            results = self._pool.step(active, actions)

    def play_streaming(self, session: StreamingSession, seeds: Sequence[int]) -> None:
        """Play all episodes to their ends; environments answer while the engine works.

        "sampling_s" is the time in which the engine has work, whatever the environments do; "env_s" that in which it
        has none and an environment is waited for, and that of sending actions.
        """
        stop_ids, limit = self._format.stop_ids, self._config.max_new_tokens
        playing = len(self.episodes)
        self._pool.begin(self._tasks, seeds, self._groups)
        while playing:
            answers = self._pool.receive(wait=not session.under_way)
            self._tick("env_s")
            going_on = [row for row, result in answers if self._observe(row, result)]
            playing -= len(answers) - len(going_on)
            self._ended(len(answers) - len(going_on))
            self._tick("format_s")
            for row in going_on:
                session.submit(row, self.episodes[row].context, stop_ids, limit)
            finished = session.poll() if session.under_way else []
            self._tick("sampling_s")
            actions = [(row, self._act(row, completion)) for row, completion in finished]
            self._tick("format_s")
            if actions:
                self._pool.send([row for row, _ in actions], [action for _, action in actions])

    def _observe(self, row: int, result: StepResult) -> bool:
        """Record the environment's answer; prepare the next context, or end the episode and return False."""
        config, episode = self._config, self.episodes[row]
        if episode.turns:
            last = episode.turns[-1]
            episode.turns[-1] = replace(last, action_valid=result.valid, reward=float(result.reward), done=result.done)
            self.counters["invalid_actions"] += not result.valid
        elif episode.attempt.memory:
            result = replace(result, observation=f"{episode.attempt.memory}\n\n{result.observation}")
        episode.seen = result
        if result.done:
            if not episode.turns:
                raise DataError(
                    f"task {episode.attempt.task.task_id} is over before its first action: remove it from the panel"
                )
            return False
        if len(episode.turns) == config.max_turns:
            episode.truncated = True
            self.counters["truncated_by_turns"] += 1
            return False
        context = self._context(episode)
        if self.session.length(row) + len(context) + config.max_new_tokens > config.max_length:
            if not episode.turns:
                raise ConfigurationError(
                    f"rollout.max_length is {config.max_length}, but the opening of task "
                    f"{episode.attempt.task.task_id} takes {len(context)} tokens and a completion up to "
                    f"rollout.max_new_tokens = {config.max_new_tokens}: raise the first to several times "
                    f"{len(context) + config.max_new_tokens}, or lower the second"
                )
            episode.truncated = True
            self.counters["truncated_by_tokens"] += 1
            return False
        episode.context = context
        return True

    def _context(self, episode: _Episode) -> list[int]:
        """Return the tokens between the last completion and the next one."""
        seen, limit = episode.seen, self._config.max_observation_tokens
        if not episode.turns:
            return self._format.opening(seen.observation, seen.admissible, seen.forms)
        context = self._format.following(episode.turns[-1].completion_ids, seen.observation, seen.admissible)
        if limit is not None and len(context) > limit:
            self.counters["cut_observations"] += 1
            # Both ends stay: they hold the template's tokens.
            context = context[: -(-limit // 2)] + context[len(context) - limit // 2 :]
        return context

    def _act(self, row: int, completion: Completion) -> str:
        """Record what the policy wrote, and return its action."""
        episode = self.episodes[row]
        parsed = self._format.parse(completion.ids)
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

    def _tick(self, name: str) -> None:
        """Book the time since the last tick under `name`."""
        now = time.perf_counter()
        self.timings[name] += now - self._clock
        self._clock = now
