"""A real vLLM server: the same tokens and log-probabilities, the newest weights, not those of another run.

Run with `bash tests/sampling/vllm.sh`, or with the environment of $VLLM_EXECUTABLE.
"""

import os
import sys
import time
from importlib.util import find_spec

import psutil
import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from sg_pipeline.config.loader import section
from sg_pipeline.errors import SamplingError
from sg_pipeline.policies.policy import Policy
from sg_pipeline.randomness import stream
from sg_pipeline.sampling.transformers_sampler import TransformersSampler
from sg_pipeline.sampling.vllm.engine import VllmEngine
from sg_pipeline.sampling.vllm.sampler import VllmSampler
from sg_pipeline.sampling.vllm.server import check_folder

EXECUTABLE = os.environ.get("VLLM_EXECUTABLE") or (sys.executable if find_spec("vllm") else None)
pytestmark = pytest.mark.skipif(EXECUTABLE is None, reason="no vLLM (docs/vllm.md), nor one in $VLLM_EXECUTABLE")

FLOAT32_GAP = 1e-4
"""|vLLM - transformers| log-probability of a token."""
BFLOAT16_GAP = 0.15
LENGTH = 512
CONTEXTS = [[5 + row, 6, 7, 8] * (row + 1) for row in range(8)]


def policy_of(*, vocabulary=300, dtype="float32", seed=0):
    config = Qwen3Config(
        vocab_size=vocabulary, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=1, head_dim=32, max_position_embeddings=1024, tie_word_embeddings=True,
        initializer_range=0.1, eos_token_id=2, pad_token_id=0, dtype=dtype,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3ForCausalLM(config).to(getattr(torch, dtype)).eval()
    return Policy(model, range(vocabulary))


def change(policy, seed=1):
    """Change all weights, as a training step does."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in policy.model.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=generator).to(weight.dtype))
    policy.step += 1


def train_adapters(policy, size):
    """Change the adapters alone, as a training step does."""
    generator = torch.Generator().manual_seed(policy.step)
    with torch.no_grad():
        for name, weight in policy.model.named_parameters():
            if ".lora_" in name:
                weight.add_(size * torch.randn(weight.shape, generator=generator))
    policy.step += 1


def converse(sampler, stop=(), limit=20, rows=range(8)):
    """Two turns of rows; streams and contexts depend on the row's number."""
    session = sampler.open([stream(1, row) for row in rows], LENGTH)
    numbers = range(len(rows))
    return [
        session.extend(numbers, [CONTEXTS[row] for row in rows], stop, limit),
        session.extend(numbers, [[9, 10]] * len(rows), stop, limit),
    ]


def gap_to_policy(policy, context, completion, temperature=1.0):
    """Largest difference to a forward pass of the policy."""
    with torch.no_grad():
        logits = policy.model(torch.tensor([[*context, *completion.ids]])).logits[0, len(context) - 1 : -1].float()
    own = torch.log_softmax(logits / temperature, -1).gather(-1, torch.tensor(completion.ids)[:, None])[:, 0]
    return float((own - torch.tensor(completion.logprobs)).abs().max())


def processes_of(engine):
    """The guard of the server that was started for `engine`, the server and its workers."""
    guard = psutil.Process(engine._process._guard.pid)
    return [guard, *guard.children(recursive=True)]


def alive(processes):
    """Processes that still run after 10 s."""
    _, running = psutil.wait_procs(processes, timeout=10)
    return [process for process in running if process.status() != psutil.STATUS_ZOMBIE]


def wait_for_turn(session):
    while not session.poll():
        time.sleep(0.1)


@pytest.fixture(scope="module")
def held():
    """A policy and an engine that holds it, with its own server."""
    policy = policy_of()
    engine = VllmEngine(policy, section("sampling", engine="vllm", server={"executable": EXECUTABLE}), LENGTH)
    assert engine.update(policy)
    yield policy, engine
    processes = processes_of(engine)
    assert len(processes) > 2
    engine.close()
    assert not alive(processes)


def other_engine(held, policy, length=LENGTH, **sampling):
    """An engine on the same server."""
    return VllmEngine(policy, section("sampling", engine="vllm", server={"url": held[1]._own.url}, **sampling), length)


def test_greedy_tokens_are_those_of_transformers(held):
    policy, engine = held
    ours, theirs = converse(VllmSampler(engine, policy, 0.0)), converse(TransformersSampler(policy.model, 0.0))
    for turn, other in zip(ours, theirs, strict=True):
        assert [c.ids for c in turn] == [c.ids for c in other]
        for completion, expected in zip(turn, other, strict=True):
            assert completion.logprobs == pytest.approx(expected.logprobs, abs=FLOAT32_GAP)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_are_the_policys_and_rows_do_not_depend_on_others(held, temperature):
    policy, engine = held
    first, second = converse(VllmSampler(engine, policy, temperature))
    assert len({tuple(completion.ids) for completion in first}) == 8
    assert max(gap_to_policy(policy, *pair, temperature) for pair in zip(CONTEXTS, first, strict=True)) < FLOAT32_GAP
    alone = converse(VllmSampler(engine, policy, temperature), rows=[6, 3])
    assert [c.ids for c in alone[0]] == [first[6].ids, first[3].ids]
    assert [c.ids for c in alone[1]] == [second[6].ids, second[3].ids]


def test_turn_ends_on_its_stop_ids_alone(held):
    policy, engine = held
    free, _ = converse(VllmSampler(engine, policy))
    stop = free[2].ids[4]
    for completion, whole in zip(converse(VllmSampler(engine, policy), stop=[stop])[0], free, strict=True):
        end = whole.ids.index(stop) + 1 if stop in whole.ids else len(whole.ids)
        assert completion.ids == whole.ids[:end]
        assert completion.stopped is (stop in whole.ids)


def test_update_replaces_the_weights_and_abandons_turns(held):
    policy, engine = held
    before, _ = converse(VllmSampler(engine, policy))
    session = VllmSampler(engine, policy).open([stream(1, 0)], LENGTH)
    session.submit(0, CONTEXTS[0], (), 400)
    change(policy)
    with pytest.raises(RuntimeError, match=f"must be updated to the policy 'policy' at step {policy.step} first"):
        VllmSampler(engine, policy).open([stream(1, 0)], LENGTH)
    assert engine.update(policy)
    assert not engine.update(policy)
    after, _ = converse(VllmSampler(engine, policy))
    assert [c.ids for c in after] != [c.ids for c in before]
    assert max(gap_to_policy(policy, *pair) for pair in zip(CONTEXTS, after, strict=True)) < FLOAT32_GAP
    assert min(gap_to_policy(policy, *pair) for pair in zip(CONTEXTS, before, strict=True)) > 0.1
    assert not [*engine._folder.glob("step_*")]


def test_server_that_keeps_old_weights_of_a_small_step_raises(held, monkeypatch):
    policy, engine = held
    with torch.no_grad():
        for weight in policy.model.parameters():
            weight.add_(1e-6)
    policy.step += 1
    monkeypatch.setattr(engine, "_hand_over", lambda *arguments: None)
    with pytest.raises(SamplingError, match="does not hold the weights of a Qwen3ForCausalLM that it was sent"):
        engine.update(policy)
    monkeypatch.undo()
    assert engine.update(policy)


def test_bfloat16_server_gets_adapters_alone_and_misses_no_small_step(monkeypatch):
    pytest.importorskip("peft", reason="PEFT is not installed")
    from sg_pipeline.config.base_model import LoraConfig
    from sg_pipeline.policies.adapters import add_adapters

    policy = policy_of(dtype="bfloat16")
    add_adapters(policy, LoraConfig(rank=4, alpha=12), "base", None, seed=0)
    for name, weight in policy.model.named_parameters():
        weight.data = weight.data.float() if ".lora_" in name else weight.data
    policy.compute = "bfloat16"
    engine = VllmEngine(policy, section("sampling", engine="vllm", server={"executable": EXECUTABLE}), LENGTH)
    try:
        train_adapters(policy, 0.05)
        assert engine.update(policy)
        monkeypatch.setattr("sg_pipeline.sampling.vllm.engine.write_weights", lambda *_, **__: pytest.fail("base sent"))
        train_adapters(policy, 1e-5)
        hand_over = engine._hand_over
        monkeypatch.setattr(engine, "_hand_over", lambda *arguments: None)
        with pytest.raises(SamplingError, match="does not hold the weights of a PeftModelForCausalLM that it was sent"):
            engine.update(policy)
        monkeypatch.setattr(engine, "_hand_over", hand_over)
        assert engine.update(policy)
        first, _ = converse(VllmSampler(engine, policy))
        assert max(gap_to_policy(policy, *pair) for pair in zip(CONTEXTS, first, strict=True)) < BFLOAT16_GAP
    finally:
        engine.close()


def test_server_that_does_not_fit_raises_with_the_flag_that_fixes_it(held, tmp_path, monkeypatch):
    policy, engine = held
    with pytest.raises(SamplingError, match=r"--max-model-len 600;.*--dtype bfloat16;.*--no-enable-prefix-caching$"):
        other_engine(held, policy_of(dtype="bfloat16"), 600, vllm={"prefix_caching": False})
    with pytest.raises(SamplingError, match=r"vocab_size is 300 there and 290 here"):
        other_engine(held, policy_of(vocabulary=290))
    monkeypatch.setattr("safetensors.torch.save_file", lambda tensors, path: None)
    with pytest.raises(SamplingError, match=r"does not see .*set sampling\.server\.weights to a folder that both see"):
        check_folder(engine._own, tmp_path)
    monkeypatch.undo()
    converse(VllmSampler(engine, policy))  # still works


def test_server_with_another_runs_weights_raises(held):
    policy, engine = held
    stranger = policy_of(seed=5)
    other = other_engine(held, stranger)
    try:
        assert other.update(stranger)
        with pytest.raises(SamplingError, match=r"does not hold .* any more, but '.*, step 0, .* its own server"):
            converse(VllmSampler(engine, policy))
        converse(VllmSampler(other, stranger))
    finally:
        other.close()


def test_dead_server_raises_and_leaves_nothing():
    policy = policy_of()
    engine = VllmEngine(policy, section("sampling", engine="vllm", server={"executable": EXECUTABLE}), LENGTH)
    processes = processes_of(engine)
    try:
        engine.update(policy)
        session = VllmSampler(engine, policy).open([stream(1, 0)], LENGTH)
        session.submit(0, CONTEXTS[0], (), 400)
        for process in processes[1:]:
            process.kill()
        with pytest.raises(SamplingError, match=r"it has ended with code .* --only-missing-outputs"):
            wait_for_turn(session)
    finally:
        engine.close()
        engine._process._log.unlink(missing_ok=True)
    assert not alive(processes)
