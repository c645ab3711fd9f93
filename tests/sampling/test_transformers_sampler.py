"""The sampler against what it must equal: full forward passes, `generate`, and itself with other rows; and `draw`."""

import math

import numpy as np
import pytest
import torch
from rounding import LOGP
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    OpenAIGPTConfig,
    OpenAIGPTLMHeadModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

import sg_pipeline.sampling.transformers_sampler as module
from sg_pipeline.errors import ConfigurationError, SamplingError
from sg_pipeline.randomness import stream
from sg_pipeline.sampling.transformers_sampler import TransformersSampler, draw

VOCABULARY = 96
STOPS = tuple(range(88, 96))
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.2,
    "eos_token_id": STOPS[0],
    "pad_token_id": 0,
}


def make_model(kind="qwen3", attention="sdpa", dtype=torch.float32):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind == "qwen3":
            model = Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=8))
        elif kind == "llama":
            model = LlamaForCausalLM(LlamaConfig(**SIZES))
        elif kind == "mistral":
            model = MistralForCausalLM(MistralConfig(**SIZES, sliding_window=500))
        else:
            model = GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, n_positions=512, n_embd=32, n_layer=3, n_head=4))
    model.set_attn_implementation(attention)
    return model.to(dtype)


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("broken", [float("nan"), float("inf"), float("-inf")])
def test_session_with_logits_that_are_not_finite_names_the_policy(broken, temperature):
    model = make_model("llama")
    with torch.no_grad():
        model.lm_head.weight[3 if broken > 0 else slice(None)] = broken
    session = TransformersSampler(model, temperature, whose="the policy 'x' at step 7").open([stream(0)], 100)
    with pytest.raises(SamplingError, match=r"^the policy 'x' at step 7 computes logits that are not finite .*float32"):
        session.extend([0], [[1, 2]], STOPS, 4)


def play(model, rows, *, turns=6, temperature=1.0, max_length=400, streams=8, drop=True, max_new_tokens=12):
    """Ragged contexts, rows that leave, and in each row the same contexts whatever the others are."""
    session = TransformersSampler(model, temperature).open([stream(0, row) for row in range(streams)], max_length)
    tokens = {row: [] for row in rows}
    logprobs = {row: [] for row in rows}
    completions = []
    alive = list(rows)
    for turn in range(turns):
        contexts = [
            (rng := stream(1, row, turn)).integers(0, 80, int(rng.integers(1, 40 if turn == 0 else 9))).tolist()
            for row in alive
        ]
        answers = session.extend(alive, contexts, STOPS, max_new_tokens)
        for row, context, answer in zip(alive, contexts, answers, strict=True):
            assert len(answer.ids) == len(answer.logprobs)
            assert answer.stopped == (bool(answer.ids) and answer.ids[-1] in STOPS)
            tokens[row] += context + answer.ids
            logprobs[row] += [None] * len(context) + answer.logprobs
            assert session.length(row) == len(tokens[row])
            completions.append(answer)
        if drop:
            alive = [row for row in alive if (row + turn) % 5 != 4]
    return tokens, logprobs, completions


def fresh_logprobs(model, ids, temperature=1.0):
    with torch.no_grad():
        logits = model.eval()(torch.tensor([ids], device=model.device)).logits[0].float()
    return torch.log_softmax(logits / (temperature or 1.0), dim=-1)


@pytest.mark.parametrize(
    ("kind", "attention", "temperature"),
    [
        ("qwen3", "sdpa", 1.0),
        ("qwen3", "eager", 0.7),
        ("llama", "sdpa", 1.0),
        ("mistral", "sdpa", 1.0),
        ("gpt2", "sdpa", 1.0),
        ("qwen3", "sdpa", 0.0),
    ],
)
def test_logprobs_equal_a_fresh_forward(kind, attention, temperature):
    model = make_model(kind, attention)
    tokens, logprobs, completions = play(model, range(8), temperature=temperature)
    lengths = {len(answer.ids) for answer in completions}
    assert len(lengths) > 3, "the completions must be ragged for this test to mean anything"
    checked = 0
    for row, ids in tokens.items():
        expected = fresh_logprobs(model, ids, temperature)
        for position, logprob in enumerate(logprobs[row]):
            if logprob is not None:
                assert logprob == pytest.approx(expected[position - 1, ids[position]].item(), abs=LOGP)
                checked += 1
    assert checked > 100


def test_tokens_depend_on_the_streams_alone():
    model = make_model()
    first, second = play(model, range(8)), play(model, range(8))
    assert first[0] == second[0]
    assert first[1] == second[1]
    assert len({tuple(ids) for ids in first[0].values()}) == 8


def test_row_does_not_depend_on_other_rows():
    model = make_model()
    together, logprobs, _ = play(model, range(8))
    for row in range(8):
        alone, alone_logprobs, _ = play(model, [row], drop=False)
        length = len(together[row])
        assert alone[row][:length] == together[row]
        got = [value for value in logprobs[row] if value is not None]
        want = [value for value in alone_logprobs[row][:length] if value is not None]
        assert got == pytest.approx(want, abs=LOGP)


def test_greedy_equals_generate():
    model = make_model()
    prompts = [stream(2, row).integers(0, 80, 5 + row).tolist() for row in range(4)]
    session = TransformersSampler(model, 0.0).open([stream(0, row) for row in range(4)], 200)
    answers = session.extend(range(4), prompts, [STOPS[0]], 30)
    for prompt, answer in zip(prompts, answers, strict=True):
        expected = model.generate(
            torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt)), do_sample=False, max_new_tokens=30
        )[0, len(prompt) :].tolist()
        assert answer.ids == expected


def test_completions_are_in_the_order_of_the_rows():
    model = make_model()
    contexts = {row: [row + 1, row + 2] for row in range(4)}

    def answers(order):
        session = TransformersSampler(model).open([stream(0, row) for row in range(4)], 100)
        return dict(zip(order, session.extend(order, [contexts[row] for row in order], STOPS, 6), strict=True))

    forward, backward = answers([0, 1, 2, 3]), answers([3, 1, 0, 2])
    assert {row: answer.ids for row, answer in forward.items()} == {row: backward[row].ids for row in range(4)}


def test_row_never_exceeds_max_length():
    session = TransformersSampler(make_model()).open([stream(0, row) for row in range(2)], 24)
    first = session.extend([0, 1], [[1] * 4, [2] * 20], [], 6)
    assert [len(answer.ids) for answer in first] == [6, 4]
    assert not any(answer.stopped for answer in first)
    assert [session.length(row) for row in range(2)] == [10, 24]
    second = session.extend([0, 1], [[3], [3]], [], 6)
    assert [len(answer.ids) for answer in second] == [6, 0]
    assert [session.length(row) for row in range(2)] == [17, 24]
    third = session.extend([0], [[3] * 7], [], 6)
    assert third[0].ids == []
    assert session.length(0) == 17


def test_cache_growth_and_prefill_slices_change_nothing(monkeypatch):
    model = make_model()
    expected = play(model, range(8))
    monkeypatch.setattr(module, "BLOCK", 7)
    monkeypatch.setattr(module, "PREFILL_TOKENS", 50)
    grown = play(model, range(8))
    assert grown[0] == expected[0]
    monkeypatch.setattr(module, "COMPACT_BELOW", 0.0)
    assert play(model, range(8))[0] == expected[0]
    monkeypatch.setattr(module, "COMPACT_BELOW", 1.1)
    assert play(model, range(8))[0] == expected[0]


def mean_gap(model):
    """Mean |sampler - fresh forward| log-probability."""
    tokens, logprobs, _ = play(model, range(8))
    gaps = []
    for row, ids in tokens.items():
        expected = fresh_logprobs(model, ids)
        gaps += [
            abs(value - expected[position - 1, ids[position]].item())
            for position, value in enumerate(logprobs[row])
            if value is not None
        ]
    return np.mean(gaps)


def test_bfloat16_model_gives_float32_logprobs_close_to_a_fresh_forward():
    assert mean_gap(make_model(dtype=torch.bfloat16)) < 0.05


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-3), (torch.bfloat16, 0.05)])
def test_logprobs_on_cuda_equal_a_fresh_forward(dtype, tolerance):
    assert mean_gap(make_model(dtype=dtype).cuda()) < tolerance


def test_model_is_unchanged_after_sampling():
    model = make_model()
    model.train()
    state = torch.get_rng_state()
    play(model, range(3), turns=2)
    assert model.training
    assert torch.equal(state, torch.get_rng_state())
    loss = model(torch.tensor([[1, 2, 3]]), labels=torch.tensor([[1, 2, 3]])).loss
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_rows_and_lengths_that_do_not_fit_raise():
    model = make_model()
    with pytest.raises(ConfigurationError, match="max_position_embeddings"):
        TransformersSampler(model).open([stream(0)], 513)
    with pytest.raises(ConfigurationError, match="sliding"):
        TransformersSampler(make_model("mistral")).open([stream(0)], 501)
    session = TransformersSampler(model).open([stream(0, row) for row in range(3)], 100)
    with pytest.raises(ValueError, match="nothing to sample from"):
        session.extend([0], [[]], STOPS, 4)
    session.extend([0, 1], [[1], [2]], STOPS, 4)
    with pytest.raises(ValueError, match="dropped"):
        session.extend([0, 2], [[1], [2]], STOPS, 4)


def test_rows_have_separate_limits_and_limit_zero_only_adds_the_context():
    model = make_model()
    whole, parts = (TransformersSampler(model).open([stream(0, row) for row in range(3)], 400) for _ in range(2))
    contexts = [[5, 6, 7], [8, 9], [10, 11, 12, 13]]
    expected = whole.extend([0, 1, 2], contexts, (), 9)
    first = parts.extend([0, 1, 2], contexts, (), [4, 9, 0])
    assert [len(answer.ids) for answer in first] == [4, 9, 0]
    assert [parts.length(row) for row in (0, 1, 2)] == [7, 11, 4]
    second = parts.extend([0, 1, 2], [[], [], []], (), [5, 0, 9])
    for row in range(3):
        assert first[row].ids + second[row].ids == expected[row].ids
        assert first[row].logprobs + second[row].logprobs == pytest.approx(expected[row].logprobs, abs=LOGP)
    with pytest.raises(ValueError, match="for each row at least 0"):
        parts.extend([0], [[1]], (), [-1])


def test_stop_when_ends_a_sample():
    model = make_model()
    plain, ended = (TransformersSampler(model).open([stream(0, row) for row in range(4)], 400) for _ in range(2))
    expected = plain.extend([0, 1, 2, 3], [[5, 6]] * 4, (), 30)
    found = ended.extend([0, 1, 2, 3], [[5, 6]] * 4, (), 30, lambda ids: len(ids) > 2 and ids[-1] % 3 == 0)
    for answer, cut in zip(expected, found, strict=True):
        end = next(place for place in range(2, 30) if answer.ids[place] % 3 == 0)
        assert cut.ids == answer.ids[: end + 1]
        assert not cut.stopped


@pytest.mark.parametrize(
    "model",
    [
        BloomForCausalLM(BloomConfig(vocab_size=80, hidden_size=16, n_layer=1, n_head=2)),
        OpenAIGPTLMHeadModel(OpenAIGPTConfig(vocab_size=80, n_embd=16, n_layer=1, n_head=2)),
    ],
)
def test_session_of_an_unsupported_architecture_raises(model):
    session = TransformersSampler(model).open([stream(0)], 100)
    with pytest.raises(ConfigurationError, match=rf"cannot run the model '{model.config.model_type}'.*another arch"):
        session.extend([0], [[1, 2]], STOPS, 4)


def test_draw_takes_the_token_whose_share_has_the_number():
    logits = torch.log(torch.tensor([[0.2, 0.0, 0.5, 0.3]]))
    for number, token in [(0.0, 0), (0.19, 0), (0.21, 2), (0.69, 2), (0.71, 3), (1 - 2**-53, 3)]:
        ids, scores = draw(logits, [number], 1.0)
        assert ids == [token]
        assert scores[0] == pytest.approx(math.log([0.2, 0, 0.5, 0.3][token]), abs=1e-6)


def test_draw_never_takes_impossible_tokens_at_the_ends():
    logits = torch.tensor([[-math.inf, 0.0, 0.0, -math.inf]])
    assert draw(logits, [0.0], 1.0)[0] == [1]
    assert draw(logits, [1 - 2**-53], 1.0)[0] == [2]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draw_frequencies_follow_the_temperature(temperature):
    logits = torch.tensor([1.0, 0.0, -1.0, 2.0])
    numbers = np.random.default_rng(0).random(20_000)
    ids, scores = draw(logits.expand(len(numbers), -1), numbers.tolist(), temperature)
    expected = torch.softmax(logits / temperature, dim=-1)
    assert np.bincount(ids, minlength=4) / len(ids) == pytest.approx(expected.numpy(), abs=0.015)
    assert scores[0] == pytest.approx(expected[ids[0]].log().item(), abs=1e-5)


def test_draw_at_temperature_zero_takes_the_most_likely_token():
    logits = torch.tensor([[0.0, 3.0, 1.0]] * 3)
    ids, scores = draw(logits, [0.0, 0.5, 0.999], 0.0)
    assert ids == [1, 1, 1]
    assert scores[0] == pytest.approx(torch.log_softmax(logits[0], -1)[1].item())


def test_draw_reaches_the_tail_of_a_large_vocabulary():
    logits = torch.zeros(1, 200_000)
    assert draw(logits, [1 - 1e-12], 1.0)[0] == [199_999]
    assert draw(logits, [0.5], 1.0)[0][0] in (99_999, 100_000, 100_001)


def test_equal_first_contexts_are_read_once_and_change_nothing(monkeypatch):
    groups = [stream(3, group).integers(0, 80, 20 + group).tolist() for group in range(2)]
    rows = [0, 1, 2, 3, 4, 5]
    opening = [groups[0], groups[1], groups[0], groups[1], groups[0], [7] * 30]

    def sampled(shared):
        monkeypatch.setattr(module, "SHARED_TOKENS", shared)
        model = make_model("llama")
        read = []
        model.register_forward_pre_hook(lambda _, __, given: read.append(given["input_ids"].shape), with_kwargs=True)
        session = TransformersSampler(model).open([stream(0, row) for row in rows], 400)
        turns = [session.extend(rows, opening, STOPS, 6)]
        turns.append(session.extend(rows[1:], [[1, 2, 3 + row] for row in rows[1:]], STOPS, 6))
        return turns, read

    (apart, all_rows), (together, readers) = sampled(10**6), sampled(20)
    assert all_rows[0] == (6, 30)
    assert readers[0] == (3, 30)
    for one, other in zip(apart, together, strict=True):
        assert [completion.ids for completion in one] == [completion.ids for completion in other]
        for a, b in zip(one, other, strict=True):
            assert np.allclose(a.logprobs, b.logprobs, atol=LOGP)
