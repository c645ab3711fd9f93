"""Distilling a guide: a policy learns to write the guidance that a stronger one wrote, and nothing else.

    recorded trajectories ─► sound, won ─► training games ─► warm_start, loss on guidance tokens ─► agreement
                                       └─► games held out ───────────────────────────────────────────┘

History is context, as it was sampled: tokens come from the record, no text is encoded again. Nothing is learnt from
actions, which a guide never writes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from sg_pipeline.agents.handover import Handover
from sg_pipeline.config.base_model import WarmStartConfig
from sg_pipeline.config.distill import DistillConfig
from sg_pipeline.config.rollout import GateConfig
from sg_pipeline.errors import ConfigurationError, DataError
from sg_pipeline.policies.compute import computing
from sg_pipeline.policies.policy import causal_model
from sg_pipeline.randomness import derive_seed, stream
from sg_pipeline.training.batching import group_by_length
from sg_pipeline.training.demonstrations import EncodedDemonstration
from sg_pipeline.training.imitation import warm_start
from sg_pipeline.trajectories.frame import from_frame
from sg_pipeline.trajectories.quarantine import gate
from sg_pipeline.trajectories.types import Polarity, Segment, Trajectory, Turn

if TYPE_CHECKING:
    import torch

    from sg_pipeline.agents.format import AgentFormat
    from sg_pipeline.policies.policy import Policy

_CHECKED_TURNS = 200
"""So many turns are decoded to see whether tokens and tokenizer belong together."""


@dataclass(frozen=True, slots=True)
class Lessons:
    """What a guide learns from.

    Attributes:
        source: the run that recorded it.
        steps: indices of its steps, ascending.
        recorded: how many trajectories it has there.
        training, held_out: trajectories, of different games.
    """

    source: str
    steps: list[int]
    recorded: int
    training: list[Trajectory]
    held_out: list[Trajectory]


def read_lessons(runs: Path, config: DistillConfig, seed: int) -> Lessons:
    """Read the trajectories of the last steps of `config.source`, and set some games apart.

    Args:
        runs: folder that holds a folder of trajectories for each run.
        config: see there.
        seed: of this run; decides which games are set apart.

    Raises:
        ConfigurationError: no source is named, or it has no trajectories.
        DataError: trajectories are not readable, or none is left to learn from.
    """
    files = _files(runs, config)
    frames = [_read(path) for path in files]
    # Sound ones only; their groups do not matter here.
    lenient = GateConfig(incomplete_groups="keep", max_quarantined_share=1.0)
    sound = [from_frame(gate(frame, None, lenient)[0]) for frame in frames]
    chosen = [one for part in sound for one in part if (one.won or not config.won_only) and _parsed(one)]
    games = sorted({one.task.task_id for one in chosen})
    kind = "won trajectories" if config.won_only else "trajectories"
    if len(games) < 2:
        raise DataError(
            f"distill.source is {config.source!r}, but the sound {kind} with guidance of its last {len(files)} steps "
            f"are of {len(games)} games; at least two are needed, one of them to measure agreement on."
        )
    order = stream(seed, "distill", "held out").permutation(len(games))
    apart = {games[i] for i in order[: min(len(games) - 1, max(1, round(config.held_out * len(games))))]}
    return Lessons(
        source=str(config.source),
        steps=[int(frame["step"][0]) for frame in frames],
        recorded=sum(frame.select("step", "group", "item").n_unique() for frame in frames),
        training=[one for one in chosen if one.task.task_id not in apart],
        held_out=[one for one in chosen if one.task.task_id in apart],
    )


def distill(
    policy: Policy, lessons: Lessons, agent_format: AgentFormat, config: DistillConfig, seed: int
) -> dict[str, Any]:
    """Train `policy` in place on the guidance of `lessons`.

    Args:
        policy: the base policy; its step stays, its name changes.
        lessons: see `read_lessons`.
        agent_format: of the policy's tokenizer, with guidance.
        config: see there.
        seed: of this run; decides the order of the trajectories.

    Returns:
        JSON-ready: `source`, `source_steps`, `trajectories` (`recorded`, `training`, `held_out`),
        `trajectories_sha256` of what was trained on, `training` (results of `warm_start`), `held_out` (`before` and
        `after`, see `guidance_agreement`).

    Raises:
        DataError: the trajectories were written with another tokenizer.
    """
    _check_tokenizer(lessons, agent_format, policy.vocabulary())
    examples = [encode_guidance(one) for one in lessons.training]
    tokens = config.epochs * sum(len(example.input_ids) for example in examples)
    before = guidance_agreement(policy, lessons.held_out, config.batch_tokens)
    figures = warm_start(
        policy,
        _epochs(examples, config.epochs, seed),
        WarmStartConfig(
            total_tokens=tokens,
            batch_tokens=config.batch_tokens,
            learning_rate=config.learning_rate,
            report_tokens=max(1, tokens // 4),
            seed=derive_seed(seed, "distill", "batches", bits=31),
        ),
    )
    policy.name = f"guide of {lessons.source}"
    return {
        "source": lessons.source,
        "source_steps": lessons.steps,
        "trajectories": {
            "recorded": lessons.recorded,
            "training": len(lessons.training),
            "held_out": len(lessons.held_out),
        },
        "trajectories_sha256": _digest(examples),
        "training": figures,
        "held_out": {"before": before, "after": guidance_agreement(policy, lessons.held_out, config.batch_tokens)},
    }


def encode_guidance(trajectory: Trajectory) -> EncodedDemonstration:
    """Return the trajectory's tokens as they were sampled; those of guidance with a verdict are to be imitated."""
    ids: list[int] = []
    mask: list[int] = []
    for turn in trajectory.turns:
        ids += [*turn.context_ids, *turn.completion_ids]
        mask += [0] * len(turn.context_ids)
        mask += [int(turn.guidance_parsed and segment == Segment.GUIDANCE) for segment in turn.segments]
    return EncodedDemonstration(ids, mask)


def _epochs(examples: Sequence[EncodedDemonstration], epochs: int, seed: int) -> Iterator[EncodedDemonstration]:
    """Yield all examples `epochs` times, shuffled again each time."""
    for epoch in range(epochs):
        yield from (examples[i] for i in stream(seed, "distill", "epoch", epoch).permutation(len(examples)))


def _files(runs: Path, config: DistillConfig) -> list[Path]:
    found = sorted((runs / config.source).glob("step_*/trajectories.parquet")) if config.source else []
    if not found:
        recorded = runs.glob("**/step_*/trajectories.parquet")
        known = sorted({path.parents[1].relative_to(runs).as_posix() for path in recorded})
        there = f"there are {', '.join(known)}" if known else "no run has any yet"
        raise ConfigurationError(
            f"distill.source is {config.source!r}, but it must name a run with training trajectories in {runs}; {there}"
        )
    # By number: in a run of more than 1000 steps names are longer, but of one length.
    return found[-config.steps :]


def _read(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path, memory_map=False)
    except Exception as error:  # polars raises its own kinds, the system others
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path} is not a readable table of trajectories ({reason}); run that step again") from error


def _parsed(trajectory: Trajectory) -> bool:
    return any(turn.guidance_parsed for turn in trajectory.turns)


def _check_tokenizer(lessons: Lessons, agent_format: AgentFormat, vocabulary: int) -> None:
    """Check that this tokenizer decodes the recorded tokens to the recorded text."""
    played = (turn for one in (*lessons.training, *lessons.held_out) for turn in one.turns)
    highest = max(token for turn in played for token in (*turn.context_ids, *turn.completion_ids))
    if highest >= vocabulary:
        raise DataError(
            f"the trajectories of run {lessons.source!r} were written with another tokenizer than this base policy's: "
            f"token id {highest} is beyond its vocabulary of {vocabulary}; distil into the base policy of that run"
        )
    turns = [turn for one in lessons.training for turn in one.turns][:_CHECKED_TURNS]
    for turn in turns:
        try:
            found = agent_format.parse(turn.completion_ids)
        except (OverflowError, IndexError, TypeError):  # an id that the tokenizer does not have
            found = None
        if found is None or (found.guidance, found.action) != (turn.guidance, turn.action):
            raise DataError(
                f"the trajectories of run {lessons.source!r} were written with another tokenizer or prompt set than "
                f"this base policy's: the action {turn.action!r} decodes as {found and found.action!r}; distil into "
                f"the base policy of that run."
            )


def _digest(examples: Sequence[EncodedDemonstration]) -> str:
    digest = hashlib.sha256()
    for example in examples:
        digest.update(f"{example.input_ids}{example.loss_mask}".encode())
    return digest.hexdigest()[:16]


def guidance_agreement(policy: Policy, trajectories: Sequence[Trajectory], batch_tokens: int) -> dict[str, Any]:
    """Compare the likeliest guidance of `policy` with the recorded one, turn by turn, after the recorded history.

    A verdict agrees where each token up to its end is the policy's likeliest one after those before: then, and only
    then, would the policy write it at temperature 0. Even the teacher does not reach 1, where it sampled.

    Args:
        policy: not changed.
        trajectories: of the teacher; turns whose guidance was not parsed are left out.
        batch_tokens: tokens in memory at once, padding included.

    Returns:
        JSON-ready: `turns`; `loss`, mean cross-entropy of the guidance's tokens; `verdict`, share of turns whose
        verdict agrees; `guidance`, share of turns in which every token does; `labels`: by the teacher's verdict its
        `share` of the turns and the `verdict` agreement there (None where it gave none).
    """
    turns, hits, whole = Counter[str](), Counter[str](), 0
    loss, tokens = 0.0, 0
    handover = Handover(policy.tokenizer)
    for one, correct, surprise in _scored(policy, trajectories, batch_tokens):
        label = str(one.polarity)
        turns[label] += 1
        # Reasoning before it is no guidance.
        verdict = handover.verdict_length(one.completion_ids) - one.segments.index(int(Segment.GUIDANCE))
        hits[label] += all(correct[: max(0, verdict)])
        whole += all(correct)
        loss += sum(surprise)
        tokens += len(surprise)
    total = sum(turns.values())
    return {
        "turns": total,
        "loss": loss / tokens if tokens else None,
        "verdict": sum(hits.values()) / total if total else None,
        "guidance": whole / total if total else None,
        "labels": {
            label: {
                "share": turns[label] / total if total else None,
                "verdict": hits[label] / turns[label] if turns[label] else None,
            }
            for label in map(str, Polarity)
        },
    }


def _scored(
    policy: Policy, trajectories: Sequence[Trajectory], batch_tokens: int
) -> Iterator[tuple[Turn, list[bool], list[float]]]:
    """Yield each turn with guidance, and of its guidance's tokens: whether it is the likeliest one, and -log pi."""
    import torch

    from sg_pipeline.training.token_logps import wanted_logits

    model = causal_model(policy.model)
    sequences = [[token for token, _, _ in one.tokens()] for one in trajectories]
    with torch.no_grad(), computing(policy.compute, model.device):
        for group in group_by_length([len(ids) for ids in sequences], batch_tokens):
            width = max(len(sequences[i]) for i in group)
            pad = policy.tokenizer.pad_token_id or 0
            ids = torch.tensor([sequences[i] + [pad] * (width - len(sequences[i])) for i in group])
            ids = ids.to(model.device)
            places = {i: list(_guidance_places(trajectories[i])) for i in group}
            wanted = torch.zeros(ids[:, 1:].shape, dtype=torch.bool)
            for row, i in enumerate(group):
                for _, tokens in places[i]:
                    wanted[row, tokens - 1] = True
            logits = wanted_logits(model, ids, wanted.to(model.device)).float()
            targets = ids[:, 1:][wanted.to(model.device)]
            surprise = torch.nn.functional.cross_entropy(logits, targets, reduction="none").tolist()
            correct = (logits.argmax(-1) == targets).tolist()
            start = 0
            for turn, tokens in (place for i in group for place in places[i]):
                end = start + len(tokens)
                yield turn, correct[start:end], surprise[start:end]
                start = end


def _guidance_places(trajectory: Trajectory) -> Iterator[tuple[Turn, torch.Tensor]]:
    """Yield each turn with guidance and where in the trajectory its guidance's tokens stand."""
    import torch

    start = 0
    for turn in trajectory.turns:
        start += len(turn.context_ids)
        if turn.guidance_parsed:
            guidance = [i for i, segment in enumerate(turn.segments) if segment == Segment.GUIDANCE]
            yield turn, start + torch.tensor(guidance)
        start += len(turn.completion_ids)
