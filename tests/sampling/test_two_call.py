"""Guidance and action from two policies: as one call where they are equal, each one's own where they are not."""

import copy

import pytest
import torch
from chat_templates import bpe_tokenizer
from rounding import LOGP
from transformers import Qwen3Config, Qwen3ForCausalLM

from sg_pipeline.agents.handover import GuidedFormat
from sg_pipeline.agents.prompts import Prompts, load_prompts
from sg_pipeline.config.base_model import TinyConfig
from sg_pipeline.environments.alfworld.vocabulary import alfworld_vocabulary
from sg_pipeline.policies.tiny import build_tiny
from sg_pipeline.policies.tokenizer import build_tokenizer
from sg_pipeline.randomness import stream
from sg_pipeline.sampling.transformers_sampler import TransformersSampler
from sg_pipeline.sampling.two_call import TwoCallSampler
from sg_pipeline.training.imitation import imitation_loss
from sg_pipeline.trajectories.types import Segment

GUIDANCE, ACTION = int(Segment.GUIDANCE), int(Segment.ACTION)
OBSERVATIONS = ("You see a cabinet 1. Your task is to: put a mug in shelf.", "You see a mug 1.", "Nothing happens.")


def tiny(seed=0):
    """The tiny policy's architecture and its tokenizer: tags are single tokens, two of them merged into one."""
    tokenizer = build_tokenizer(alfworld_vocabulary())
    config = TinyConfig(hidden_size=32, layers=2, heads=2, head_dim=16, intermediate_size=48, initializer_range=0.1)
    return build_tiny(config, tokenizer, seed).model, tokenizer, load_prompts("tiny")


def qwen(seed=0):
    """A random Qwen3 with a byte-level tokenizer and Qwen3's chat template: tags are spread over many tokens."""
    tokenizer = bpe_tokenizer("qwen3")
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = Qwen3Config(
        vocab_size=len(tokenizer), num_key_value_heads=1, head_dim=16, max_position_embeddings=4096,
        initializer_range=0.1, **sizes,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Qwen3ForCausalLM(config)
    return model, tokenizer, Prompts("short", "Guide, then act.", "Act.")


TURNS = (
    "<guidance>positive: take mug 1</guidance><action>go to shelf 1</action>",
    "<guidance>negative: find a mug</guidance>\n<action>take mug 1 from shelf 2</action>",
    "<guidance>neutral: go to cabinet 1</action>",  # ends its turn inside the guidance
    "<guidance>positive: find mug <action>go to cabinet 1</action>",  # acts without closing the guidance
    "<guidance>positive: " + "mug 1 " * 25,  # fills the turn
    "<guidance>negative: " + "shelf 1 " * 25,  # so does this: some do, however the training rounds
)


def learn(model, tokenizer, form, steps=120):
    """Teach `model` to write such turns after any observation, sound and broken ones."""
    rows = []
    for number, text in enumerate(TURNS * len(OBSERVATIONS)):
        seen = OBSERVATIONS[number // len(TURNS)]
        context = form.opening(seen) + (form.following([form.stop_ids[-1]], seen) if number % 2 else [])
        reply = tokenizer.encode(text, add_special_tokens=False)
        rows.append((context, reply if reply[-1] in form.stop_ids else [*reply, form.stop_ids[-1]]))
    width = max(len(context) + len(reply) for context, reply in rows)
    ids, mask = torch.zeros(len(rows), width, dtype=torch.long), torch.zeros(len(rows), width, dtype=torch.bool)
    for number, (context, reply) in enumerate(rows):
        ids[number, : len(context) + len(reply)] = torch.tensor(context + reply)
        mask[number, len(context) : len(context) + len(reply)] = True
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        imitation_loss(model, ids, mask).backward()
        optimizer.step()
    return model


def play(sampler, form, rows=16, turns=4, max_new_tokens=40, max_length=4000):
    """Sampled turns by row; every third row leaves after each turn, the contexts follow from what was sampled."""
    session = sampler.open([stream(0, "two calls", row) for row in range(rows)], max_length)
    written = {row: [] for row in range(rows)}
    lengths = dict.fromkeys(range(rows), 0)
    alive = list(range(rows))
    for turn in range(turns):
        seen = OBSERVATIONS[min(turn, 2)]
        contexts = [form.following(written[row][-1].ids, seen) if turn else form.opening(seen) for row in alive]
        answers = session.extend(alive, contexts, form.stop_ids, max_new_tokens)
        for row, context, answer in zip(alive, contexts, answers, strict=True):
            written[row].append(answer)
            if answer.ids:
                lengths[row] += len(context) + len(answer.ids)
            assert session.length(row) == lengths[row]
        alive = [row for row in alive if (row + turn) % 3]
    return written


@pytest.fixture(scope="module", params=[tiny, qwen], ids=["tiny", "qwen3 template, byte-level BPE"])
def agent(request):
    """Return a model that writes turns, its format, and a turn's limit that some of its guidances fill.

    In float64: two ways of computing the same logits then draw the same tokens on any processor.
    """
    model, tokenizer, prompts = request.param()
    form = GuidedFormat(tokenizer, prompts)
    return learn(model, tokenizer, form).double(), form, 20 if request.param is tiny else 36


@pytest.mark.parametrize("room", [1500, 150])
def test_two_calls_with_equal_weights_equal_one_call_token_for_token(agent, room):
    model, form, longest = agent
    room += len(form.opening(OBSERVATIONS[0]))
    one = play(TransformersSampler(model), form, max_new_tokens=longest, max_length=room)
    sampler = TwoCallSampler(TransformersSampler(model), TransformersSampler(model), form.handover)
    two = play(sampler, form, max_new_tokens=longest, max_length=room)
    shared = guided = 0
    for row, turns in one.items():
        assert [turn.ids for turn in turns] == [turn.ids for turn in two[row]]
        assert [turn.stopped for turn in turns] == [turn.stopped for turn in two[row]]
        for single, double in zip(turns, two[row], strict=True):
            assert single.logprobs == pytest.approx(double.logprobs, abs=LOGP)
            guides = form.handover.length(double.ids)
            guided += guides
            shared += 0 < guides < len(double.ids)
    assert shared > 5, "the policy must have had its part for this test to mean anything"
    assert sampler.counters["guide_tokens"] == guided
    assert sampler.counters["guide_ended_turns"] > 0
    assert sampler.counters["guide_filled_turns"] > 0


def fresh_logprobs(model, ids):
    with torch.no_grad():
        return torch.log_softmax(model(torch.tensor([ids])).logits[0].float(), dim=-1)


def test_tokens_have_the_log_probability_of_their_writer_and_both_read_all(agent):
    policy, form, longest = agent
    guide = copy.deepcopy(policy)
    with torch.no_grad():
        for weight in guide.parameters():
            weight.mul_(0.9)
    sampler = TwoCallSampler(TransformersSampler(guide), TransformersSampler(policy), form.handover)
    session = sampler.open([stream(0, "apart", row) for row in range(8)], 1500)
    sequences, alive = {row: [] for row in range(8)}, list(range(8))
    checked = {GUIDANCE: 0, ACTION: 0}
    last = []
    for turn in range(3):
        seen = OBSERVATIONS[turn]
        contexts = [form.following(last[row].ids, seen) if turn else form.opening(seen) for row in alive]
        last = session.extend(alive, contexts, form.stop_ids, longest)
        for row, context, answer in zip(alive, contexts, last, strict=True):
            sequences[row] += context
            start = len(sequences[row])
            sequences[row] += answer.ids
            assert session.length(row) == len(sequences[row])
            rows = {GUIDANCE: fresh_logprobs(guide, sequences[row]), ACTION: fresh_logprobs(policy, sequences[row])}
            for place, segment in enumerate(form.parse(answer.ids).segments):
                expected = rows[segment][start + place - 1, answer.ids[place]].item()
                assert answer.logprobs[place] == pytest.approx(expected, abs=LOGP)
                checked[segment] += 1
    assert min(checked.values()) > 20
