"""Draft tokens: what is proposed, and that they change nothing but the number of passes."""

import pytest
import torch
from rounding import LOGP
from test_transformers_sampler import STOPS, make_model, play

import sg_pipeline.sampling.transformers_sampler as module
from sg_pipeline.randomness import stream
from sg_pipeline.sampling.drafts import LONGEST, Drafts
from sg_pipeline.sampling.transformers_sampler import TransformersSampler


def test_draft_is_what_followed_the_last_two_tokens_in_any_row():
    drafts = Drafts(2, LONGEST)
    drafts.append(0, [1, 2, 3, 4, 9, 5, 6])
    drafts.append(1, [8, 1])
    assert drafts.propose(1, 5, set()) == []  # (8, 1) is new
    drafts.append(1, [2])
    assert drafts.propose(1, 3, set()) == [3, 4, 9]
    assert drafts.propose(1, 100, set()) == [3, 4, 9, 5, 6][:LONGEST]
    assert drafts.propose(1, 100, {9}) == [3, 4]
    assert drafts.propose(1, 0, set()) == []
    drafts.append(1, [7, 1, 2])
    assert drafts.propose(0, 5, set()) == []  # (5, 6) was followed by nothing
    assert drafts.propose(1, 5, set()) == [7, 1, 2]  # the last time, not the first


def forgetful(kind):
    """A model that often repeats itself: one layer, whose attention counts for little."""
    model = make_model(kind, num_hidden_layers=1)
    with torch.no_grad():
        model.lm_head.weight.mul_(6)
        model.model.layers[0].self_attn.o_proj.weight.mul_(0.1)
    return model


@pytest.fixture
def passes(monkeypatch):
    """Count forward passes."""
    counted = []
    forward = module.TransformersSession._forward
    monkeypatch.setattr(
        module.TransformersSession, "_forward", lambda *args, **named: (counted.append(1), forward(*args, **named))[1]
    )
    return counted


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_drafts_change_nothing_but_the_number_of_passes(kind, temperature, monkeypatch, passes):
    model = forgetful(kind)
    tokens, logprobs, _ = play(model, range(3), temperature=temperature)
    undrafted = len(passes)
    monkeypatch.setattr(module, "DRAFTS_FROM", 0)
    drafted, drafted_logprobs, _ = play(model, range(3), temperature=temperature)
    assert drafted == tokens
    for row, values in logprobs.items():
        for one, other in zip(drafted_logprobs[row], values, strict=True):
            assert one is other is None or abs(one - other) < LOGP
    assert len(passes) - undrafted < undrafted


def test_what_repeats_takes_few_passes(monkeypatch, passes):
    monkeypatch.setattr(module, "DRAFTS_FROM", 0)
    session = TransformersSampler(forgetful("qwen3"), 0.0).open([stream(0)], 200)
    (answer,) = session.extend([0], [[1, 2, 3]], [], 120)
    assert len(answer.ids) == 120
    assert len(set(answer.ids)) < 40, "the model must repeat itself for this to mean anything"
    assert len(passes) < 90


def test_drafts_stay_within_limits_and_end_where_the_turn_ends(monkeypatch):
    monkeypatch.setattr(module, "DRAFTS_FROM", 0)
    model = forgetful("qwen3")

    def sevens(ids):
        return len(ids) > 1 and ids[-1] % 7 == 0

    for limit in (1, 2, 3, 7):
        session = TransformersSampler(model).open([stream(0, row) for row in range(3)], 60)
        context, length = [5, 6, 7, 5, 6], 0
        while length + len(context) < 60:
            answers = session.extend(
                range(3), [context] * 3, STOPS, limit, lambda ids: len(ids) > 1 and ids[-1] % 7 == 0
            )
            for row, answer in enumerate(answers):
                assert len(answer.ids) <= limit
                assert not set(answer.ids[:-1]) & set(STOPS)
                assert not any(token % 7 == 0 for token in answer.ids[1:-1])
                assert session.length(row) <= 60
            length = max(session.length(row) for row in range(3))


def test_nothing_is_drafted_with_transformers_modules(monkeypatch, passes):
    model = forgetful("mistral")
    tokens, _, _ = play(model, range(3))
    monkeypatch.setattr(module, "DRAFTS_FROM", 0)
    undrafted = len(passes)
    assert play(model, range(3))[0] == tokens
    assert len(passes) == 2 * undrafted
