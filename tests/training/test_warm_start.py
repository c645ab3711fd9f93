"""The SFT warm start: what is imitated, that it learns, and that it can be resumed."""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from learning_tools import same, weights
from pydantic import ValidationError

from sg_pipeline.agents.format import AgentFormat
from sg_pipeline.agents.handover import Handover
from sg_pipeline.agents.prompts import load_prompts
from sg_pipeline.config.base_model import WarmStartStage
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.policies.checkpoint import load_policy, save_policy
from sg_pipeline.randomness import stream
from sg_pipeline.training.demonstrations import (
    EncodedDemonstration,
    StreamPosition,
    encode_demonstration,
    stream_batches,
)
from sg_pipeline.training.imitation import (
    WarmStartConfig,
    WarmStartProgress,
    held_out_loss,
    imitation_loss,
    warm_start,
)
from sg_pipeline.trajectories.types import Polarity


@dataclass(frozen=True)
class SomeTurn:
    observation: str
    guidance_text: str
    polarity: Polarity
    action: str
    is_noise: bool


@dataclass(frozen=True)
class SomeDemonstration:
    turns: tuple[SomeTurn, ...]
    forms: tuple[str, ...] = ()


DEMONSTRATION = SomeDemonstration(
    (
        SomeTurn("You see a cabinet 1.", "find mug", Polarity.NEUTRAL, "go to cabinet 1", False),
        SomeTurn("On the cabinet 1, you see a mug 1.", "find mug in shelf 1", Polarity.POSITIVE, "go to shelf 1", True),
        SomeTurn("On the shelf 1, you see nothing.", "go to cabinet 1", Polarity.NEGATIVE, "go to cabinet 1", False),
    )
)


def endless(start=0):
    """Sequences in which each token follows from the one before, so that they can be learnt."""
    for number in itertools.count(start):
        rng = stream(0, "endless", number)
        length = int(rng.integers(10, 40))
        ids = ((np.arange(length) * 3 + int(rng.integers(50))) % 60 + 20).tolist()
        yield EncodedDemonstration(ids, [0] * 4 + [1] * (length - 4))


@pytest.mark.parametrize("guidance", [True, False])
def test_replies_are_imitated_and_contexts_are_not(tokenizer, guidance):
    form = AgentFormat(tokenizer, load_prompts("tiny"), guidance=guidance)
    demo = encode_demonstration(DEMONSTRATION, form, Handover(tokenizer).verdict_length, loss_on_noise=True)
    imitated = [token for token, wanted in zip(demo.input_ids, demo.loss_mask, strict=True) if wanted]
    replies = [
        form.encode_reply(turn.polarity if guidance else None, turn.guidance_text, turn.action)
        for turn in DEMONSTRATION.turns
    ]
    assert imitated == [token for reply in replies for token in reply]
    opening = form.opening(DEMONSTRATION.turns[0].observation)
    assert demo.input_ids[: len(opening)] == opening
    assert not any(demo.loss_mask[: len(opening)])


def test_of_a_mistake_only_the_verdict_before_it_is_imitated(tokenizer):
    form, verdict_length = (
        AgentFormat(tokenizer, load_prompts("tiny"), guidance=True),
        Handover(tokenizer).verdict_length,
    )
    full = encode_demonstration(DEMONSTRATION, form, verdict_length, loss_on_noise=True)
    part = encode_demonstration(DEMONSTRATION, form, verdict_length)
    assert full.input_ids == part.input_ids
    changed = zip(full.input_ids, full.loss_mask, part.loss_mask, strict=True)
    left_out = [token for token, before, now in changed if before and not now]
    reply = form.encode_reply(Polarity.POSITIVE, "find mug in shelf 1", "go to shelf 1")
    assert left_out == reply[verdict_length(reply) :]
    assert tokenizer.decode(reply[: verdict_length(reply)]).split() == ["<guidance>", "positive"]
    plain = AgentFormat(tokenizer, load_prompts("tiny"), guidance=False)
    assert sum(encode_demonstration(DEMONSTRATION, plain, verdict_length).loss_mask) == sum(
        len(plain.encode_reply(None, "", turn.action)) for turn in DEMONSTRATION.turns if not turn.is_noise
    )


def test_batches_hold_the_budget_and_every_demonstration_once():
    demos = list(itertools.islice(endless(), 100))
    batches = list(
        stream_batches(iter(demos), batch_tokens=120, window=32, pad_id=0, seed=1, position=StreamPosition())
    )
    assert all(batch.input_ids.numel() <= 120 for batch in batches)
    assert sum(batch.input_ids.shape[0] for batch in batches) == 100
    assert sum(batch.tokens for batch in batches) == sum(len(demo.input_ids) for demo in demos)
    assert sum(int(batch.loss_mask.sum()) for batch in batches) == sum(sum(demo.loss_mask) for demo in demos)
    padding = 1 - sum(batch.tokens for batch in batches) / sum(batch.input_ids.numel() for batch in batches)
    assert padding < 0.1


@pytest.mark.parametrize("taken", [0, 3, 11, 12, 30])
def test_stream_goes_on_where_it_was_left(taken):
    def batches(position):
        demos = endless(position.demonstrations)
        return stream_batches(demos, batch_tokens=90, window=16, pad_id=0, seed=1, position=position)

    whole = batches(StreamPosition())
    position = StreamPosition()
    for _ in range(taken):
        position = next(whole).after
    rest = batches(position)
    for _ in range(15):
        expected, found = next(whole), next(rest)
        assert torch.equal(expected.input_ids, found.input_ids)
        assert expected.after == found.after


def test_loss_is_the_mean_over_imitated_tokens_whatever_the_padding(make_policy):
    policy = make_policy()
    demos = list(itertools.islice(endless(), 3))
    batch = next(stream_batches(iter(demos), batch_tokens=10**4, window=3, pad_id=0, seed=0, position=StreamPosition()))
    terms = []
    for demo in demos:
        ids = torch.tensor(demo.input_ids)
        logps = policy.model(input_ids=ids[None]).logits[0, :-1].log_softmax(-1).gather(-1, ids[1:, None])[:, 0]
        terms += (-logps[torch.tensor(demo.loss_mask[1:]).bool()]).tolist()
    loss = imitation_loss(policy.model, batch.input_ids, batch.loss_mask).item()
    assert loss == pytest.approx(sum(terms) / len(terms), rel=1e-4)


def test_learns_and_reports(make_policy, caplog):
    policy = make_policy()
    held_out = list(itertools.islice(endless(10**6), 8))
    before = held_out_loss(policy, held_out, 200)
    config = WarmStartConfig(total_tokens=12_000, batch_tokens=200, report_tokens=3000, learning_rate=1e-2)
    with caplog.at_level("INFO"):
        metrics = warm_start(policy, endless(), config)
    reports = [record.message for record in caplog.records if record.message.startswith("warm start: ")]
    assert len(reports) == 4
    assert "min left" in reports[0]
    assert before > 1.5
    assert metrics["loss"] < 0.5
    assert held_out_loss(policy, held_out, 200) < 0.5
    assert metrics["tokens"] >= 12_000
    assert policy.optimizer_state is None
    assert not policy.model.training


def test_stopped_and_resumed_equals_uninterrupted(make_policy, tmp_path):
    config = WarmStartConfig(total_tokens=6000, batch_tokens=200, window=16, report_tokens=1500, learning_rate=1e-2)

    straight, stopped = make_policy(), make_policy()
    expected = warm_start(straight, endless(), config)
    progress = WarmStartProgress()
    warm_start(stopped, endless(), config, progress, until=3100)
    assert 3100 <= progress.tokens < 3400
    stopped.imitation = progress.notes()
    save_policy(stopped, tmp_path / "partial")
    resumed = load_policy(tmp_path / "partial")
    progress = WarmStartProgress.from_notes(resumed.imitation)
    found = warm_start(resumed, endless(progress.position.demonstrations), config, progress=progress)
    assert same(weights(straight), weights(resumed))
    assert found["tokens"] == expected["tokens"]
    assert found["optimizer_steps"] == expected["optimizer_steps"]


def test_rate_rises_then_falls():
    config = WarmStartConfig(
        total_tokens=100_000, batch_tokens=1000, learning_rate=1.0, warmup_share=0.1, final_share=0.1
    )
    rates = [config.rate(tokens) for tokens in range(0, 100_001, 1000)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert 8 <= rates.index(max(rates)) <= 10
    assert rates[-1] == pytest.approx(0.1)
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))
    assert config.model_copy(update={"schedule": "constant"}).rate(90_000) == 1.0


def test_rate_reaches_the_optimizer(make_policy):
    """With AdamW's first step every weight with a gradient moves by the learning rate."""
    policy = make_policy()
    before = weights(policy)
    config = WarmStartConfig(total_tokens=1, batch_tokens=200, learning_rate=1e-3, warmup_share=0, weight_decay=0)
    warm_start(policy, endless(), config)
    moved = max(float((a - b).abs().max()) for a, b in zip(before, weights(policy), strict=True))
    assert moved == pytest.approx(1e-3, rel=0.01)
    later = make_policy()
    config = config.model_copy(update={"total_tokens": 100_000, "schedule": "linear", "final_share": 0.0})
    progress = WarmStartProgress(tokens=99_999)
    warm_start(later, endless(), config, progress=progress)
    moved = max(float((a - b).abs().max()) for a, b in zip(before, weights(later), strict=True))
    assert moved < 1e-7


def test_ends_with_the_stream(make_policy):
    policy = make_policy()
    config = WarmStartConfig(total_tokens=10**9, batch_tokens=200)
    metrics = warm_start(policy, itertools.islice(endless(), 20), config)
    assert metrics["tokens"] == sum(len(demo.input_ids) for demo in itertools.islice(endless(), 20))
    assert math.isfinite(metrics["loss"])
    assert policy.optimizer_state is None


def test_says_so_when_it_diverges(make_policy):
    policy = make_policy()
    with torch.no_grad():
        policy.model.lm_head.weight[0, 0] = float("nan")
    with pytest.raises(ConfigurationError, match="diverged"):
        warm_start(policy, endless(), WarmStartConfig(total_tokens=1000, batch_tokens=200))
    rate = {"learning_rate": 1e39, "warmup_share": 0.0}  # breaks the weights in the only step, not its loss
    with pytest.raises(ConfigurationError, match="diverged: after the last update the weights"):
        warm_start(make_policy(), endless(), WarmStartConfig(total_tokens=100, batch_tokens=200, **rate))


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_of_mistakes_that_leaves_nothing_to_imitate_is_refused(share):
    with pytest.raises(ValidationError, match=r"noise\.1"):
        WarmStartStage(total_tokens=100, batch_tokens=10, learning_rate=1e-3, noise=(0.0, share))
