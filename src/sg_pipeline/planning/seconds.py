"""Seconds of a step and of a run, by part.

Sampling is a loop of forward passes. Each takes as long as the slower of two, the operations at the rate the device
reaches and the bytes of weights, keys and values at the rate its memory reaches; the host's starting of kernels goes on
beside them on a GPU, and is added on a CPU.
Training is operations at the reached rate. Both are estimates of a device's published figures times an assumed
efficiency: a run's own steps are better, and take their place (see `lengths.read_recorded`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sg_pipeline.config.run import written_steps
from sg_pipeline.planning import habits, vllm
from sg_pipeline.planning.case import Case
from sg_pipeline.planning.flops import Passes, forward_flops, training_flops
from sg_pipeline.planning.shape import BYTES
from sg_pipeline.training.experience import MicroBatch, plan_updates


@dataclass(frozen=True, slots=True)
class StepTime:
    """Seconds of a step on every device at once.

    Attributes:
        parts: "sampling", "environments", "training", "sync" -> seconds.
        flops: operations of the training part on one device.
        sampled, trained: tokens that one device samples, and positions that it trains on, padding included.
    """

    parts: dict[str, float]
    flops: float
    sampled: float
    trained: int

    @property
    def total(self) -> float:
        """Seconds of the step."""
        return sum(self.parts.values())


def step_time(case: Case) -> StepTime:
    """Return the seconds of an average step of `case`."""
    episodes = case.episodes
    turns = episodes * case.lengths.turns
    micros, updates, rows = micro_batches(case)
    flops, positions = _training_flops(case, micros, rows)
    device, efficiency = case.device, case.plan.efficiency
    passes = len(micros) * case.train.num_iterations
    host = passes * case.shape.layers * efficiency.layer_ms / 1000 * (4 if case.checkpointing else 3)
    training = habits.TRAINER_SECONDS
    training += _with_host(case, flops / (device.peak(case.compute_dtype) * efficiency.training), host)
    training += updates * 7 * case.trainable * case.size / (device.bandwidth * 1e9 * efficiency.bandwidth)
    return StepTime(
        parts={
            "sampling": play_seconds(case, episodes),
            "environments": turns / 1000 * (case.lengths.environment_ms / case.workers + case.lengths.format_ms),
            "training": training,
            "sync": _sync(case, passes, updates),
        },
        flops=flops,
        sampled=turns * case.lengths.completion,
        trained=positions,
    )


def run_seconds(case: Case, step: float) -> dict[str, float]:
    """Return the seconds of the main job by part, where a step takes `step`."""
    evaluate = case.evaluate
    rows = case.evaluated_rows
    batches = math.ceil(case.plan.evaluated_games * evaluate.episodes_per_game / rows) if rows else 0
    turns = rows * case.lengths.turns / 1000
    one = play_seconds(case, rows) if rows else 0.0
    one += turns * (case.lengths.environment_ms / case.workers + case.lengths.format_ms)
    written = sum(checkpoint_bytes(case)) / (case.plan.efficiency.disk_gb_s * 1e9)
    return {
        "steps": case.coevolve.steps * step,
        "evaluation": 2 * len(evaluate.modes) * batches * one,
        "checkpoints": written,
    }


def checkpoint_bytes(case: Case) -> list[int]:
    """Return the bytes of every policy that the run writes down; the first, the base, has no optimizer state."""
    weights = case.shape.parameters * case.size
    state = habits.MOMENTS * case.trainable * case.size
    return [weights + (state if step else 0) for step in written_steps(case.coevolve)]


def turns_of(case: Case, count: int) -> np.ndarray:
    """Return turns of `count` episodes, spread evenly around the average and at most `rollout.max_turns`."""
    average, most = min(case.lengths.turns, case.rollout.max_turns), case.rollout.max_turns
    reach = min(average - 1, most - average)
    return np.linspace(average - reach, average + reach, count) if count > 1 else np.array([average])


def play_seconds(case: Case, rows: int) -> float:
    """Return the seconds of sampling `rows` episodes to their ends, side by side or in waves."""
    if rows == 0:
        return 0.0
    if (wave := _at_once(case, rows)) < rows:
        return rows // wave * play_seconds(case, wave) + play_seconds(case, rows % wave)
    lengths = case.lengths
    turns = turns_of(case, rows)
    decoded = min(case.rollout.max_new_tokens, lengths.completion * lengths.longest_completion)
    # Who has finished its turn is ballast until enough have; then the batch shrinks.
    batch_share = (1 + lengths.completion / decoded) / 2
    seconds = 0.0
    for turn in range(math.ceil(float(turns.max()))):
        playing = float(np.clip(turns - turn, 0, 1).sum())
        if playing <= 0:
            break
        new = lengths.prompt if turn == 0 else lengths.observation
        before = min(case.rollout.max_length, lengths.tokens(turn) if turn else 0.0)
        passes = math.ceil(playing * new / habits.PREFILL_TOKENS)
        seconds += _pass_seconds(case, playing, new, before + new, passes, case.plan.efficiency.prefill)
        span = before + new + decoded / 2
        batch = playing * batch_share
        seconds += (decoded - 1) * _pass_seconds(case, batch, 1, span, 1, case.plan.efficiency.decode)
    return seconds


def _at_once(case: Case, rows: int) -> int:
    """Return how many of so many episodes are sampled side by side; vLLM's others wait for room in its cache."""
    if case.plan.engine == "transformers":
        return case.at_once(rows)
    if case.plan.engine == "vllm":
        return min(rows, max(1, vllm.trajectories(case, case.longest)))
    return rows


def _pass_seconds(case: Case, rows: float, new: float, span: float, passes: int, reached: float) -> float:
    """Return the seconds of feeding `new` tokens to each of `rows` rows that then see `span` positions."""
    shape, device, efficiency = case.shape, case.device, case.plan.efficiency
    paged = case.plan.engine != "transformers"
    # The cache is a rectangle: every row is read as far as the longest one reaches.
    seen = span if paged else span * case.lengths.spread
    flops = forward_flops(shape, rows * new, rows * new * seen, rows)
    size, token = (BYTES[vllm.dtype(case)], vllm.token_bytes(case)) if paged else (case.size, case.cache_bytes())
    read = passes * (shape.matrix_parameters + shape.head) * size + rows * seen * token
    layer_ms = min(habits.VLLM_LAYER_MS, efficiency.layer_ms) if paged else efficiency.layer_ms
    computing = flops / (device.peak(vllm.dtype(case) if paged else case.compute_dtype) * reached)
    busy = max(computing, read / (device.bandwidth * 1e9 * efficiency.bandwidth))
    return _with_host(case, busy, passes * shape.layers * layer_ms / 1000)


def _with_host(case: Case, busy: float, host: float) -> float:
    """Return seconds in which a device is busy and its host starts what it does: a GPU works meanwhile, a CPU waits."""
    return max(busy, host) if case.device.is_gpu else busy + host


def micro_batches(case: Case) -> tuple[tuple[MicroBatch, ...], int, Sequence[int]]:
    """Return (the micro-batches of one pass on one device, optimizer steps of all passes, tokens of each trajectory).

    They are cut by the learner's own function from trajectories of evenly spread lengths.
    """
    turns = turns_of(case, case.episodes)
    rows = [max(2, min(case.rollout.max_length, round(case.lengths.tokens(float(count))))) for count in turns]
    idle = round(case.lengths.idle_share * len(rows)) if case.train.beta == 0 else 0
    # Which of them are idle is of no length in particular: every so many.
    skipped = {math.floor(i * len(rows) / idle) for i in range(idle)}
    plan = plan_updates(
        rows,
        minibatch=max(1, case.train.minibatch // case.ranks),
        micro_batch_tokens=case.train.micro_batch_tokens,
        # In an order that mixes lengths: a permutation without chance.
        orders=[np.argsort([(i * 0.6180339887498949) % 1 for i in range(len(rows))], kind="stable")],
        idle=skipped,
        overhead=case.train.micro_batch_overhead,
    )
    return plan.micro_batches, plan.updates_per_pass * case.train.num_iterations, rows


def _training_flops(case: Case, micros: Sequence[MicroBatch], rows: Sequence[int]) -> tuple[float, int]:
    """Return (operations, positions with padding) of training on the micro-batches on one device."""
    gpu = case.device.is_gpu
    flops, positions = 0.0, 0
    extra = (case.train.beta > 0) + (case.train.sampler_correction != "none") / case.train.num_iterations
    for micro in micros:
        lengths = [rows[i] for i in micro.rows]
        width = max(lengths)
        padded = len(lengths) * width
        # Causal attention without a mask skips the future; the output layer runs at the policy's tokens.
        pairs = padded * width * 0.5
        head = sum(lengths) * case.policy_share
        # On a GPU the output layer's tiles are computed again in the backward pass.
        passes = Passes(1 + extra, 1, 3 + gpu + extra, case.checkpointing)
        flops += training_flops(case.shape, padded, pairs, head, passes)
        positions += padded
    return flops * case.train.num_iterations, positions * case.train.num_iterations


def _sync(case: Case, passes: int, updates: int) -> float:
    """Return the seconds in which devices exchange weights and gradients, as if nothing else went on meanwhile."""
    link = case.device.link * 1e9
    others = (case.ranks - 1) / case.ranks
    weights, gradients = case.shape.parameters * case.size, case.trainable * case.size
    seconds = 0.0
    if case.plan.parallel == "ddp":
        seconds += updates * 2 * others * gradients / link
    if case.plan.parallel == "fsdp":
        gathers = 2 + case.checkpointing
        seconds += passes * others * (gathers * weights + gradients) / link + others * weights / link
    if case.plan.engine == "vllm":
        # Read from the policy, written to the engine; a sleeping engine's cache costs nothing to make anew.
        alone = case.plan.lora_rank and case.plan.vllm.separate(vllm.dtype(case))
        sent = 2 * gradients if alone else weights + vllm.weights(case)
        seconds += sent / (case.device.bandwidth * 1e9 * case.plan.efficiency.bandwidth)
    return seconds
