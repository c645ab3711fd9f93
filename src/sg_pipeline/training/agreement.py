"""How far a guide says what its teacher said, in the teacher's own situations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sg_pipeline.agents.handover import Handover
from sg_pipeline.policies.adapters import causal_model
from sg_pipeline.policies.compute import computing
from sg_pipeline.training.batching import group_by_length
from sg_pipeline.trajectories.types import Polarity, Segment, Trajectory, Turn

if TYPE_CHECKING:
    import torch

    from sg_pipeline.policies.policy import Policy


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

    model = causal_model(policy.model)
    sequences = [[token for token, _, _ in one.tokens()] for one in trajectories]
    with torch.no_grad(), computing(policy.compute, model.device):
        for group in group_by_length([len(ids) for ids in sequences], batch_tokens):
            width = max(len(sequences[i]) for i in group)
            pad = policy.tokenizer.pad_token_id or 0
            ids = torch.tensor([sequences[i] + [pad] * (width - len(sequences[i])) for i in group])
            ids = ids.to(model.device)
            hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
            for row, i in enumerate(group):
                for turn, places in _guidance_places(trajectories[i]):
                    wanted = ids[row, places]
                    logits = model.get_output_embeddings()(hidden[row, places - 1]).float()
                    surprise = torch.nn.functional.cross_entropy(logits, wanted, reduction="none")
                    yield turn, (logits.argmax(-1) == wanted).tolist(), surprise.tolist()


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
