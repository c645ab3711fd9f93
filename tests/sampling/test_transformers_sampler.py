"""The sampler against what it must equal: full forward passes, `generate`, and itself with other rows; and `draw`."""

import math

import numpy as np
import pytest
import torch
from rounding import LOGP
from transformers import AutoConfig, AutoModelForCausalLM

import sg_pipeline.sampling.transformers_sampler as module
from sg_pipeline.errors import ConfigurationError, SamplingError
from sg_pipeline.policies.compute import computing
from sg_pipeline.randomness import stream
from sg_pipeline.sampling.transformers_sampler import TransformersSampler, draw

VOCABULARY = 96
STOPS = tuple(range(88, 96))
SIZES = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512, "initializer_range": 0.2,
    "eos_token_id": STOPS[0], "pad_token_id": 0,
}  # fmt: skip
SMALL = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 3, "n_head": 4}
EXPERTS = {"num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 16}
HYBRID = SIZES | {"head_dim": 8, "num_hidden_layers": 4}
OF_KIND = {
    "qwen3": SIZES | {"head_dim": 8}, "mistral": SIZES | {"sliding_window": 500}, "gpt2": SMALL | {"n_positions": 512},
    "openai-gpt": SMALL, "bloom": {"vocab_size": VOCABULARY, "hidden_size": 32, "n_layer": 3, "n_head": 4},
    "qwen3_5": {"text_config": HYBRID}, "qwen3_5_text": HYBRID, "qwen3_next": HYBRID | EXPERTS,
}  # fmt: skip


def make_model(kind="qwen3", attention="sdpa", dtype=torch.float32, **changes):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **OF_KIND.get(kind, SIZES) | changes))
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


def play(model, rows, *, turns=6, temperature=1.0, drop=True, compute="weights"):
    """Ragged contexts, rows that leave, and in each row the same contexts whatever the others are."""
    session = TransformersSampler(model, temperature, compute).open([stream(0, row) for row in range(8)], 400)
    tokens, logprobs = {row: [] for row in rows}, {row: [] for row in rows}
    completions, alive = [], list(rows)
    for turn in range(turns):
        contexts = [
            (rng := stream(1, row, turn)).integers(0, 80, int(rng.integers(1, 40 if turn == 0 else 9))).tolist()
            for row in alive
        ]
        answers = session.extend(alive, contexts, STOPS, 12)
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


def gaps(model, temperature=1.0, compute="weights"):
    """|sampler - fresh forward| log-probability of each sampled token."""
    tokens, logprobs, completions = play(model, range(8), temperature=temperature, compute=compute)
    assert len({len(answer.ids) for answer in completions}) > 3, "completions must be ragged for this to mean anything"
    found = []
    for row, ids in tokens.items():
        with torch.no_grad(), computing(compute, model.device):
            logits = model.eval()(torch.tensor([ids], device=model.device)).logits[0].float()
        expected = torch.log_softmax(logits / (temperature or 1.0), dim=-1)
        sampled = [(place, logprob) for place, logprob in enumerate(logprobs[row]) if logprob is not None]
        found += [abs(logprob - expected[place - 1, ids[place]].item()) for place, logprob in sampled]
    assert len(found) > 100
    return found


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
    assert max(gaps(make_model(kind, attention), temperature)) < LOGP


def test_row_does_not_depend_on_other_rows():
    model = make_model()
    together, logprobs, _ = play(model, [5, 2, 0, 1, 3, 4, 7, 6])
    assert len({tuple(ids) for ids in together.values()}) == 8
    for row in (0, 2, 5):
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


@pytest.mark.parametrize(
    ("device", "dtype", "tolerance"),
    [("cpu", torch.bfloat16, 0.05), ("cuda", torch.bfloat16, 0.05), ("cuda", torch.float32, 1e-3)],
)
def test_logprobs_are_near_a_fresh_forward_in_any_type_on_any_device(device, dtype, tolerance):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    assert np.mean(gaps(make_model(dtype=dtype).to(device))) < tolerance


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


def test_length_beyond_positions_or_window_raises():
    with pytest.raises(ConfigurationError, match="max_position_embeddings"):
        TransformersSampler(make_model()).open([stream(0)], 513)
    with pytest.raises(ConfigurationError, match="sliding"):
        TransformersSampler(make_model("mistral")).open([stream(0)], 501)


@pytest.mark.parametrize("kind", ["qwen3_5", "qwen3_5_text", "qwen3_next"])
def test_model_with_other_attention_raises(kind):
    with pytest.raises(ConfigurationError, match=r"full attention only, but the model '\w+' has linear_attention"):
        TransformersSampler(make_model(kind)).open([stream(0)], 100)


@pytest.mark.parametrize("kind", ["bloom", "openai-gpt"])
def test_session_of_an_unsupported_architecture_raises(kind):
    session = TransformersSampler(make_model(kind, "eager")).open([stream(0)], 100)
    with pytest.raises(ConfigurationError, match=rf"cannot run the model '{kind}'.*another arch"):
        session.extend([0], [[1, 2]], STOPS, 4)


@pytest.mark.parametrize("shares", [[0.2, 0.0, 0.5, 0.3, 0.0], [0.0, 0.7, 0.0, 0.3]])
def test_draw_takes_the_token_whose_share_has_the_number(shares):
    for number in (0.0, 0.19, 0.21, 0.69, 0.71, 1 - 2**-53):
        ((token,), (score,)) = draw(torch.log(torch.tensor([shares])), [number], 1.0)
        assert token == next(index for index in range(len(shares)) if sum(shares[: index + 1]) > number)
        assert score == pytest.approx(math.log(shares[token]), abs=1e-6)
    ((token,), (score,)) = draw(torch.log(torch.tensor([shares])), [0.999], 0.0)
    assert (shares[token], score) == (max(shares), pytest.approx(math.log(max(shares)), abs=1e-6))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draw_frequencies_follow_the_temperature(temperature):
    logits = torch.tensor([1.0, 0.0, -1.0, 2.0])
    numbers = np.random.default_rng(0).random(20_000)
    ids, scores = draw(logits.expand(len(numbers), -1), numbers.tolist(), temperature)
    expected = torch.softmax(logits / temperature, dim=-1)
    assert np.bincount(ids, minlength=4) / len(ids) == pytest.approx(expected.numpy(), abs=0.015)
    assert scores[0] == pytest.approx(expected[ids[0]].log().item(), abs=1e-5)


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
