"""The engine in this process, against a real vLLM: the same tokens, the same log-probabilities, the newest weights.

Run with `bash tests/sampling/vllm.sh`: vLLM wants an environment of its own (docs/vllm.md).
"""

import numpy as np
import pytest

pytest.importorskip("vllm", reason="vLLM is not installed (docs/vllm.md)")

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from sg_pipeline.config.sampling import SamplingConfig, VllmConfig
from sg_pipeline.errors import SamplingError
from sg_pipeline.policies.policy import Policy
from sg_pipeline.policies.weights import named_weights
from sg_pipeline.randomness import stream
from sg_pipeline.sampling.engines import close_engines, make_sampler
from sg_pipeline.sampling.transformers_sampler import TransformersSampler
from sg_pipeline.sampling.vllm import local
from sg_pipeline.sampling.vllm.engine import PROBE_GAP, Request
from sg_pipeline.sampling.vllm.held import fingerprint
from sg_pipeline.sampling.vllm.local import LocalEngine
from sg_pipeline.sampling.vllm.rank import executor_on
from sg_pipeline.sampling.vllm.session import VllmSampler

FLOAT32_GAP = 1e-4
"""|vLLM - transformers| log-probability of a token in float32, see `rounding.LOGP`."""
BFLOAT16_GAP = 0.15
"""0.03 was measured."""
LENGTH = 512
CONTEXTS = [[5 + row, 6, 7, 8] * (row + 1) for row in range(8)]


def policy_of(*, tied=False, dtype="float32", hidden=64):
    config = Qwen3Config(
        vocab_size=300, hidden_size=hidden, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=1, head_dim=32, max_position_embeddings=1024, tie_word_embeddings=tied,
        initializer_range=0.1, eos_token_id=2, pad_token_id=0, dtype=dtype,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Qwen3ForCausalLM(config).to(getattr(torch, dtype)).eval()
    return Policy(model, range(300))


def change(policy, seed=1, size=0.05):
    """Train the policy for a step, after a fashion."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in policy.model.parameters():
            weight.add_(size * torch.randn(weight.shape, generator=generator).to(weight.dtype))
    policy.step += 1


def streams(count=8, first=0):
    return [stream(1, first + row) for row in range(count)]


def converse(sampler, stop=(), limit=20):
    """Two turns of eight rows."""
    session = sampler.open(streams(), LENGTH)
    return [
        session.extend(range(8), CONTEXTS, stop, limit),
        session.extend(range(8), [[9, 10]] * 8, stop, limit),
    ], session


def gap_to_policy(policy, context, completion, temperature=1.0):
    """Largest difference to a fresh forward pass of the policy."""
    with torch.no_grad():
        logits = policy.model(torch.tensor([[*context, *completion.ids]])).logits[0, len(context) - 1 : -1].float()
    own = torch.log_softmax(logits / temperature, -1).gather(-1, torch.tensor(completion.ids)[:, None])[:, 0]
    return float((own - torch.tensor(completion.logprobs)).abs().max())


@pytest.fixture(scope="module", params=["untied", "tied"])
def held(request):
    """A policy and the engine that holds it."""
    policy = policy_of(tied=request.param == "tied")
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), torch.get_num_threads(), torch.set_num_threads
    engine = LocalEngine(policy, VllmConfig(), LENGTH)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()
    assert (torch.get_num_threads(), torch.set_num_threads) == before[2:]
    assert engine.update(policy)
    yield policy, engine
    engine.close()


def test_greedy_tokens_are_those_of_transformers(held):
    policy, engine = held
    ours, session = converse(VllmSampler(engine, policy, 0.0))
    theirs, _ = converse(TransformersSampler(policy.model, 0.0))
    for turn, other in zip(ours, theirs, strict=True):
        assert [c.ids for c in turn] == [c.ids for c in other]
        for completion, expected in zip(turn, other, strict=True):
            assert completion.logprobs == pytest.approx(expected.logprobs, abs=FLOAT32_GAP)
    assert [session.length(row) for row in range(8)] == [len(context) + 20 + 2 + 20 for context in CONTEXTS]


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_are_the_policys_at_the_sampling_temperature(held, temperature):
    policy, engine = held
    (first, _), _ = converse(VllmSampler(engine, policy, temperature))
    assert len({tuple(completion.ids) for completion in first}) == 8
    for context, completion in zip(CONTEXTS, first, strict=True):
        assert gap_to_policy(policy, context, completion, temperature) < FLOAT32_GAP


def test_a_row_writes_the_same_in_other_company(held):
    policy, engine = held
    sampler = VllmSampler(engine, policy)
    (first, second), _ = converse(sampler)
    session = sampler.open([stream(1, 3), stream(7, 7)], LENGTH)
    assert session.extend([1, 0], [[4] * 9, CONTEXTS[3]], (), 20)[1].ids == first[3].ids
    assert session.extend([0], [[9, 10]], (), 20)[0].ids == second[3].ids
    assert converse(sampler)[0][0] != converse(VllmSampler(engine, policy, 0.5))[0][0]


def test_more_context_than_fits_into_a_forward_pass(held):
    policy, engine = held
    sampler, contexts = VllmSampler(engine, policy), [[5 + row, 6, 7, 8] * 110 for row in range(8)]
    written = sampler.open(streams(), LENGTH).extend(range(8), contexts, (), 20)  # 3520 tokens
    assert sampler.open([stream(1, 4)], LENGTH).extend([0], contexts[4:5], (), 20)[0].ids == written[4].ids
    assert gap_to_policy(policy, contexts[4], written[4]) < FLOAT32_GAP


def test_ends_of_a_turn(held):
    policy, engine = held
    (free, _), _ = converse(VllmSampler(engine, policy))
    stop = free[2].ids[4]
    (stopped, _), session = converse(VllmSampler(engine, policy), stop=[stop])
    for completion, whole in zip(stopped, free, strict=True):
        end = whole.ids.index(stop) + 1 if stop in whole.ids else len(whole.ids)
        assert completion.ids == whole.ids[:end]
        assert completion.stopped is (stop in whole.ids)
    session = VllmSampler(engine, policy).open(streams(2), 30)
    ended, silent = session.extend([0, 1], CONTEXTS[:2], (), [9, 0], lambda ids: len(ids) == 6)
    assert (ended.ids, ended.stopped) == (free[0].ids[:6], False)
    assert (silent.ids, session.length(1)) == ([], 8)
    # Cut where the row is full, and nothing at all where the context does not fit.
    cut, full = session.extend([0, 1], [[9], [3] * 25], (), 25)
    assert (len(cut.ids), session.length(0), full.ids, session.length(1)) == (19, 30, [], 8)


def test_new_weights_are_taken_over_and_old_ones_refused(held):
    policy, engine = held
    sampler = VllmSampler(engine, policy)
    before, _ = converse(sampler)
    change(policy)
    with pytest.raises(RuntimeError, match=f"step {policy.step - 1}, but those of step {policy.step} of policy are"):
        sampler.open(streams(), LENGTH)
    assert engine.update(policy)
    assert not engine.update(policy)
    assert engine.step == policy.step
    after, _ = converse(sampler)
    assert [c.ids for c in after[0]] != [c.ids for c in before[0]]
    assert max(gap_to_policy(policy, *pair) for pair in zip(CONTEXTS, after[0], strict=True)) < FLOAT32_GAP
    assert min(gap_to_policy(policy, *pair) for pair in zip(CONTEXTS, before[0], strict=True)) > 0.1


def test_weights_that_are_not_taken_over_are_told(held, monkeypatch):
    policy, engine = held
    monkeypatch.setattr(engine, "load", lambda policy: None)
    change(policy, seed=2)
    with pytest.raises(SamplingError, match=r"does not hold the weights of a Qwen3ForCausalLM .* fingerprint"):
        engine.update(policy)
    with pytest.raises(RuntimeError, match="holds the weights of step None"):
        VllmSampler(engine, policy).open(streams(), LENGTH)
    monkeypatch.undo()
    assert engine.update(policy)


def test_an_engine_sleeps_while_the_policy_is_trained_and_wakes_for_its_weights(held, monkeypatch):
    """A CPU gives no memory back, but vLLM's engine and its scheduler go to sleep on it all the same."""
    policy, engine = held
    before, _ = converse(VllmSampler(engine, policy))
    executor, called = engine._engine.engine_core.engine_core.model_executor, []
    rpc, noted = executor.collective_rpc, {"sleep", "wake_up", "reload_weights", "execute_model"}

    def note(method, *arguments, **named):
        called.extend([(method, *named.get("kwargs", {}).values())[:2]] if method in noted else [])
        return rpc(method, *arguments, **named)

    monkeypatch.setattr(executor, "collective_rpc", note)
    engine.rest()
    assert called == []  # not asked for
    assert engine.holds(policy)
    monkeypatch.setattr(engine, "_sleeps", True)
    engine.submit(0, Request([5, 6], (), 9, 1.0, seed=0))
    engine.rest()
    engine.rest()
    assert called == [("sleep", 2)]  # weights go as well
    assert engine._engine.is_sleeping()
    assert not engine.holds(policy)
    assert engine.poll() == []
    with pytest.raises(RuntimeError, match="holds the weights of step None"):
        VllmSampler(engine, policy).open(streams(), LENGTH)
    assert engine.update(policy)  # a step without training
    assert [name for name, *_ in called[:4]] == ["sleep", "wake_up", "reload_weights", "execute_model"]
    assert not engine._engine.is_sleeping()
    after, _ = converse(VllmSampler(engine, policy))
    assert [[c.ids for c in turn] for turn in after] == [[c.ids for c in turn] for turn in before]


def test_sleep_is_ignored_on_a_cpu_and_known_to_vllm(caplog):
    from vllm import EngineArgs

    policy = policy_of()
    engine = LocalEngine(policy, VllmConfig(sleep=True), LENGTH)
    try:
        assert "sampling.vllm.sleep is ignored: on a CPU vLLM cannot give its memory back" in caplog.text
        assert engine.update(policy)
        engine.rest()
        assert engine.holds(policy)
    finally:
        engine.close()
    with pytest.raises(ValueError, match="Sleep mode is not supported on current platform"):
        EngineArgs(model="none", enable_sleep_mode=True).create_model_config()


def test_an_executor_on_the_policys_gpu():
    from vllm.v1.executor.uniproc_executor import UniProcExecutor

    class Configured:  # what the executor reads of vLLM's configuration here
        class device_config:
            device = "cuda"

    theirs, ours = (object.__new__(kind) for kind in (UniProcExecutor, executor_on(3)))
    for executor in (theirs, ours):
        executor.vllm_config = Configured
    method, rank, gpu = ours._distributed_args()
    assert (rank, gpu) == (0, 3)
    assert theirs._distributed_args()[1:] == (0, 0)
    assert method.startswith("file://")
    assert ours.supports_async_scheduling()


def test_stale_weights_of_a_small_step_are_found_in_bfloat16(monkeypatch):
    """Adam's steps at a learning rate of 1e-6 change one weight in a hundred by one bit, and no probe sees that."""
    policy = policy_of(tied=True)
    engine = LocalEngine(policy, VllmConfig(dtype="bfloat16"), LENGTH)
    try:
        assert engine.update(policy)
        take_over = engine._reload
        for stale in (lambda name: True, lambda name: "layers.1.self_attn.k_proj" in name, lambda name: "head" in name):
            change(policy, size=1e-6)
            late = dict(named_weights(policy))
            monkeypatch.setattr(
                engine, "_reload", lambda weights, stale=stale: take_over((n, w) for n, w in weights if not stale(n))
            )
            with pytest.raises(SamplingError, match=r"does not hold the weights of a Qwen3ForCausalLM .* fingerprint"):
                engine.update(policy)
            if stale("everything"):
                assert engine.probe(policy)[1] < PROBE_GAP["bfloat16"]
            monkeypatch.setattr(engine, "_reload", take_over)
            assert engine.update(policy)
            assert engine.held(["weights"]) == [{"weights": fingerprint(late.values(), "bfloat16")}]
    finally:
        engine.close()


def test_architecture_that_vllm_cannot_load_raises_its_reason():
    """vLLM itself says no more than that its log should be read."""
    from vllm import ModelRegistry

    with pytest.raises(ValueError, match="it knows no architecture 'NobodysForCausalLM'"):
        local._check_architecture("NobodysForCausalLM")
    ModelRegistry.register_model("LackingForCausalLM", "a_package_that_is_missing:Model")
    with pytest.raises(ValueError, match=r"'LackingForCausalLM' cannot be imported .No module named 'a_package"):
        local._check_architecture("LackingForCausalLM")
    local._check_architecture("Qwen3ForCausalLM")


def test_bfloat16_and_the_engine_of_a_process():
    policy = policy_of(tied=True, dtype="bfloat16")
    config = SamplingConfig(engine="vllm")
    try:
        sampler = make_sampler(policy, config, 1.0, LENGTH)
        for _ in range(2):
            (first, _), _ = converse(sampler)
            assert max(gap_to_policy(policy, *pair) for pair in zip(CONTEXTS, first, strict=True)) < BFLOAT16_GAP
            change(policy)
            policy.model.config.pad_token_id = 5  # as TRL does in the first step
            kept = sampler._engine
            sampler = make_sampler(policy, config, 1.0, LENGTH)
            assert sampler._engine is kept
    finally:
        close_engines()
