"""The engine on a server that speaks like vLLM: turns, updates and their proof, failures; no vLLM is needed."""

import copy
import json
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from fake_vllm import SIZES, policy_of, running, written
from transformers import AutoConfig, AutoModelForCausalLM, Qwen3ForCausalLM

from sg_pipeline.config.base_model import LoraConfig
from sg_pipeline.config.loader import section
from sg_pipeline.errors import ConfigurationError, SamplingError
from sg_pipeline.policies.policy import Policy
from sg_pipeline.policies.weights import named_weights
from sg_pipeline.randomness import stream
from sg_pipeline.sampling import base
from sg_pipeline.sampling.vllm import client as client_module
from sg_pipeline.sampling.vllm import sampler
from sg_pipeline.sampling.vllm.engine import VllmEngine
from sg_pipeline.sampling.vllm.held import combined, fingerprint
from sg_pipeline.sampling.vllm.sampler import VllmSampler
from sg_pipeline.sampling.vllm.weights import adapter_room, write_configuration

SERVER = section("sampling", engine="vllm", server={"url": "http://h:1"})
LENGTH = 128
GENERATE = "/inference/v1/generate"


def adapted(rank=4, compute="bfloat16"):
    pytest.importorskip("peft", reason="PEFT is not installed")
    from sg_pipeline.policies.adapters import add_adapters

    policy = policy_of(compute=compute)
    add_adapters(policy, LoraConfig(rank=rank, alpha=12), "base", None, seed=0)
    return policy


def train(policy, rate=1e-6):
    """Change each weight, or each adapter, by as much as a step of AdamW changes it at most."""
    generator = torch.Generator().manual_seed(policy.step)
    adapters = hasattr(policy.model, "peft_config")
    with torch.no_grad():
        for name, weight in policy.model.named_parameters():
            if not adapters or ".lora_" in name:
                weight.add_(rate * torch.randn(weight.shape, generator=generator).sign())
    policy.step += 1


@pytest.fixture
def server():
    with running(policy_of(), "bfloat16") as server:
        yield server


@pytest.fixture
def connect(monkeypatch):
    """Return a function that makes an engine on servers."""
    monkeypatch.setattr(client_module, "_FIRST_PAUSE_S", 0.01)
    opened = []

    def connect(policy, *servers, **sampling):
        urls = {"url": [server.url for server in servers], "answer_s": sampling.pop("answer_s", 60)}
        opened.append(VllmEngine(policy, section("sampling", engine="vllm", server=urls, vllm=sampling), LENGTH))
        return opened[-1]

    yield connect
    for engine in opened:
        engine.close()


@pytest.fixture
def held(server, connect):
    """Return a policy and an engine that is up to date."""
    policy = policy_of()
    engine = connect(policy, server, answer_s=2.0)
    engine.update(policy)
    server.asked.clear()
    return policy, engine


@pytest.fixture
def turn(held):
    """Return a function that samples one turn."""
    policy, engine = held
    return lambda stop=(14,): VllmSampler(engine, policy).open([stream(0)], LENGTH).extend([0], [[1, 2]], stop, 4)[0]


def test_turn_is_one_request_with_tokens_seed_and_stop_ids(server, turn):
    completion = turn()
    assert (completion.ids, completion.stopped) == ([0, 7, 14], True)
    ((_, _, asked),) = server.asked
    seed = int(stream(0).integers(2**62))
    wanted = {"temperature": 1.0, "seed": seed, "max_tokens": 4, "stop_token_ids": [14], "ignore_eos": True}
    assert asked["token_ids"] == [1, 2]
    assert wanted.items() <= asked["sampling_params"].items()
    assert (turn([99]).ids, turn([99]).stopped) == ([0, 7, 14, 21], False)


def test_session_streams_cuts_at_max_length_and_gives_full_rows_nothing(held):
    policy, engine = held
    session = VllmSampler(engine, policy).open([stream(0, row) for row in range(3)], 10)
    session.submit(0, [1] * 7, (), 5)
    session.submit(1, [1] * 10, (), 5)
    session.submit(2, [1, 2], (), 0)
    done = {}
    while session.under_way:
        done.update(session.poll())
    assert {row: len(completion.ids) for row, completion in done.items()} == {0: 3, 1: 0, 2: 0}
    assert [session.length(row) for row in range(3)] == [10, 0, 2]


def test_connection_that_breaks_is_tried_again(server, turn):
    once = iter([None, None])
    server.answers[GENERATE] = lambda: next(once, (200, written(server.label)))
    assert turn().ids == [3, 4, 7]
    assert len(server.asked) == 3


def test_server_that_is_gone_or_silent_raises_with_its_url(server, turn):
    server.answers[GENERATE] = None
    with pytest.raises(SamplingError, match=rf"{server.url} does not answer any more .* --only-missing-outputs"):
        turn()
    assert len(server.asked) == 4
    server.answers[GENERATE] = lambda: time.sleep(4.0)
    with pytest.raises(SamplingError, match=r"no answer within 2 s \(sampling\.server\.answer_s\)"):
        turn()
    assert len(server.asked) == 5  # a silent server is not asked again


def test_refusal_is_reported_with_the_servers_words(server, turn):
    server.answers[GENERATE] = 500, {"error": {"message": "EngineCore encountered an issue"}}
    with pytest.raises(SamplingError, match=r"does not write a turn \(500: EngineCore encountered an issue\)"):
        turn()


@pytest.mark.parametrize(("label", "reason"), [("theirs", "stop"), (None, "abort")])
def test_turn_by_other_weights_raises(server, turn, label, reason):
    server.answers[GENERATE] = 200, written(label or server.label, reason=reason)
    with pytest.raises(SamplingError, match=r"does not hold this run's weights \('.*'\) any more.* its own server"):
        turn()


def test_turn_that_was_abandoned_is_never_returned(held):
    policy, engine = held
    VllmSampler(engine, policy).open([stream(0)], LENGTH).submit(0, [1], (), 4)
    while not all(request.done() for request in engine._own._under_way):
        time.sleep(0.01)
    session = VllmSampler(engine, policy).open([stream(0)], LENGTH)
    assert session.extend([0], [[1, 2]], (), 2)[0].ids == [0, 7]


def test_server_that_died_during_training_is_reported(held, tmp_path):
    policy, engine = held
    policy.step += 1
    engine._folder = tmp_path / "deleted_with_it"
    with pytest.raises(SamplingError, match=r"weights of step 1 cannot be written to .*sampling\.server\.weights"):
        engine.update(policy)
    engine._process = SimpleNamespace(ending=lambda wait_s: "it has ended with code 1")
    with pytest.raises(SamplingError, match=r"is gone: it has ended with code 1; run the same command"):
        engine.update(policy)


@pytest.mark.parametrize("stale", ["", "model.layers.1.self_attn.k_proj", "lm_head"])
def test_update_of_learning_rate_size_that_is_missing_raises(server, held, stale):
    policy, engine = held
    for _ in range(2):
        assert not engine.update(policy)
        train(policy)
        assert engine.update(policy)
    train(policy)
    server.stale = stale
    with pytest.raises(SamplingError, match=r"after an update to step 3 .* does not hold the weights .* fingerprint"):
        engine.update(policy)
    with pytest.raises(RuntimeError, match="must be updated to the policy 'policy' at step 3 first"):
        VllmSampler(engine, policy).open([], LENGTH)
    server.stale = None
    assert engine.update(policy)


@pytest.mark.parametrize(
    ("extension", "store", "warning"),
    [
        ("", lambda weight: weight, "cannot be asked"),
        ("sg_held.HeldWeights", torch.square, "stores weights in another"),
    ],
)
def test_update_of_server_that_cannot_be_compared_is_checked_by_what_it_writes(
    server, connect, extension, store, warning, caplog
):
    server.info["parallel_config"]["worker_extension_cls"], server.store = extension, store
    policy = policy_of()
    engine = connect(policy, server)
    for _ in range(3):
        assert engine.update(policy)
        train(policy)
    assert caplog.text.count(warning) == 1
    for _ in range(2):
        policy.step += 1  # a step that has changed nothing
        assert engine.update(policy)
    server.stale = ""
    train(policy)
    with pytest.raises(SamplingError, match="writes the same as before, to the last bit"):
        engine.update(policy)


def test_server_that_computes_another_model_raises(connect):
    other = policy_of(rope_parameters={"rope_type": "default", "rope_theta": 3.0}, compute="weights")
    policy = policy_of(compute="weights")
    with running(other) as server, pytest.raises(SamplingError, match=r"all weights of a Qwen3.*but computes another"):
        connect(policy, server).update(policy)


def test_all_servers_get_new_weights(connect):
    policy = policy_of(compute="weights")
    with running(policy) as one, running(policy) as two:
        engine = connect(policy, one, two)
        train(policy, 0.1)
        engine.update(policy)
        assert one.label == two.label != "default"
        assert torch.equal(two.model.lm_head.weight, policy.model.lm_head.weight)
        two.stale = ""
        train(policy)
        with pytest.raises(SamplingError, match="does not hold the weights"):
            engine.update(policy)


def test_separate_adapters_are_sent_alone_after_the_first_update(connect, monkeypatch):
    policy = adapted()
    with running(policy, "bfloat16") as server:
        engine = connect(policy, server)
        assert engine.update(policy)
        monkeypatch.setattr("sg_pipeline.sampling.vllm.engine.write_weights", lambda *_, **__: pytest.fail("base sent"))
        train(policy, 1e-3)
        assert engine.update(policy)
        assert [adapters["id"] for adapters in server.adapters] == [server.label]
        server.stale = ""
        train(policy, 1e-5)
        with pytest.raises(SamplingError, match="the fingerprint of its adapters is not"):
            engine.update(policy)


def test_server_sleeps_during_training_and_gets_all_weights_when_it_wakes(connect):
    policy = adapted()
    with running(policy, "bfloat16") as server:
        server.info["model_config"]["enable_sleep_mode"] = True
        engine = connect(policy, server, sleep=True)
        engine.update(policy)
        server.asked.clear()
        engine.rest()
        engine.rest()
        assert server.asked == [("/sleep", {"level": "2"}, None)]
        assert engine.update(policy)
        after = server.paths[1:]
        assert after.index("/wake_up") < after.index("/pause") < after.index("/collective_rpc") < after.index("/resume")
        assert "reload_weights" in [(body or {}).get("method") for _, _, body in server.asked]


def test_server_that_cannot_sleep_is_reported(server, connect, caplog):
    policy = policy_of()
    engine = connect(policy, server, sleep=True)
    assert "sampling.vllm.sleep is ignored" in caplog.text
    engine.rest()
    assert "/sleep" not in server.paths


def test_logits_that_are_not_finite_name_the_policy(server, held):
    policy, engine = held
    session = VllmSampler(engine, policy).open([stream(0)], 100)
    for model in (server.model, policy.model):
        with torch.no_grad():
            model.lm_head.weight[3] = float("nan")
    with pytest.raises(SamplingError, match="the policy 'policy' at step 0 computes logits that are not finite"):
        session.extend([0], [[1, 2]], [], 4)
    policy.step += 1
    with pytest.raises(SamplingError, match="the policy 'policy' at step 1 computes logits that are not finite"):
        engine.update(policy)


def test_policy_with_frozen_weights_in_bfloat16_is_probed_as_it_computes(server, connect):
    policy = policy_of()
    policy.model.lm_head.bfloat16()
    assert connect(policy, server).update(policy)


def test_fingerprint_depends_on_numbers_alone():
    weight = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    one = fingerprint([weight], "bfloat16")
    padded = torch.cat([weight.bfloat16().T, torch.tensor([[0.0, -0.0] * 3])])
    assert fingerprint([padded[:4], padded[4:]], "bfloat16") == one
    changed = weight.bfloat16()
    changed[3, 3] = torch.nextafter(changed[3, 3], torch.tensor(9.0, dtype=torch.bfloat16))
    assert fingerprint([changed], "bfloat16") != one
    assert fingerprint([weight + 1e-6], "float32") != fingerprint([weight], "float32")
    parts = [{"norm": 5, "matrix": fingerprint([part], "bfloat16")} for part in (weight[:2], weight[2:])]
    assert combined(parts) == (5 + one) % 2**64


@pytest.fixture
def started(monkeypatch):
    """Engines that were started, which are none."""
    made = []

    class Started:
        closed = False

        def close(self):
            self.closed = True

    monkeypatch.setattr(sampler, "VllmEngine", lambda *arguments: made.append(Started()) or made[-1])
    yield made
    base.close_engines()


def test_engine_is_kept_when_only_labels_and_training_entries_change(started):
    policy = policy_of()
    kept = sampler.engine_for(policy, SERVER, 512)
    for name, value in {
        "pad_token_id": 7, "eos_token_id": [1, 2], "use_cache": False, "attention_dropout": 0.1, "architectures": ["X"],
        "_name_or_path": "elsewhere", "output_router_logits": True, "router_aux_loss_coef": 0.1,
        "initializer_range": 0.5, "transformers_version": "0", "tie_word_embeddings": True,
    }.items():  # fmt: skip
        setattr(policy.model.config, name, value)
        assert sampler.engine_for(policy, SERVER, 512) is kept, name
    policy.model.set_attn_implementation("eager")
    assert sampler.engine_for(policy, SERVER, 512) is kept
    assert sampler.engine_for(Policy(copy.deepcopy(policy.model), range(300), compute="bfloat16"), SERVER, 512) is kept
    assert len(started) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"num_hidden_layers": 1},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}},
        {"compute": "weights"},
        {"max_length": 256},
        {"unknown_multiplier": 2.0},
        {"class": "other"},
    ],
)
def test_engine_is_replaced_when_what_it_computes_changes(started, changed):
    class Other(Qwen3ForCausalLM):
        pass

    first = sampler.engine_for(policy_of(), SERVER, 512)
    sizes = {name: value for name, value in changed.items() if name not in ("compute", "max_length", "class")}
    policy = policy_of(Other if "class" in changed else Qwen3ForCausalLM, **sizes)
    policy.compute = changed.get("compute", "bfloat16")
    assert sampler.engine_for(policy, SERVER, changed.get("max_length", 512)) is not first
    assert first.closed


def test_make_sampler_keeps_the_engine_and_updates_it(server):
    policy, config = policy_of(), section("sampling", engine="vllm", server={"url": server.url})
    first = base.make_sampler(policy, config, 1.0, LENGTH)
    try:
        train(policy, 0.1)
        second = base.make_sampler(policy, config, 0.7, LENGTH)
        assert second.engine is first.engine
        session = second.open([stream(0)], LENGTH)
        assert session.extend([0], [[1, 2]], (), 2)[0].ids == [0, 7]
        assert (server.asked[-1][2]["sampling_params"]["temperature"], server.label) == (0.7, second.engine._label)
        base.rest_engines()
    finally:
        base.close_engines()


def test_max_length_beyond_the_models_positions_raises():
    with pytest.raises(ConfigurationError, match=r"max_position_embeddings \(1024\), found 1025"):
        sampler.engine_for(policy_of(), SERVER, 1025)


def test_configuration_names_the_class_that_was_loaded(tmp_path):
    class Sharded(Qwen3ForCausalLM):
        """As FSDP makes one."""

    sizes = {name: value for name, value in SIZES.items() if name != "initializer_range"}
    whole = AutoConfig.for_model("qwen3_5", text_config=sizes, architectures=["Qwen3_5ForConditionalGeneration"])
    for model, name in (
        (policy_of(Sharded).model, "Qwen3ForCausalLM"),
        (AutoModelForCausalLM.from_config(whole), "Qwen3_5ForCausalLM"),
    ):
        assert write_configuration(Policy(model, range(300)), tmp_path) == name
        config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
        assert (config["architectures"], config["tie_word_embeddings"]) == ([name], False)
        assert AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(tmp_path)).state_dict().keys() == {
            *model.state_dict()
        }


@pytest.mark.parametrize(
    ("setting", "dtype", "found"),
    [("auto", "bfloat16", 8), ("auto", "float32", None), ("merged", "bfloat16", None), ("separate", "float32", 8)],
)
def test_adapters_are_sent_separately_where_a_merge_would_lose_them(setting, dtype, found):
    assert adapter_room(adapted(), section("sampling", vllm={"adapters": setting}).vllm, dtype) == found
    assert adapter_room(policy_of(), section("sampling").vllm, dtype) is None


def test_adapters_that_cannot_be_sent_separately_raise():
    separate = section("sampling", vllm={"adapters": "separate"}).vllm
    with pytest.raises(ConfigurationError, match=r"has 0 sets of adapters.*base_model.lora"):
        adapter_room(policy_of(), separate, "float32")
    policy = adapted()
    policy.model.peft_config["default"] = replace(policy.model.peft_config["default"], modules_to_save=["lm_head"])
    with pytest.raises(ConfigurationError, match="modules_to_save"):
        adapter_room(policy, separate, "float32")
    with pytest.raises(ConfigurationError, match="rank is 600, and vLLM takes at most 512"):
        adapter_room(adapted(rank=600), separate, "float32")


def test_merged_adapters_are_added_in_float32():
    """As trained for a few steps: below half the distance to the next bfloat16 number, nearly everywhere."""
    policy = adapted()
    policy.model.get_base_model().to(torch.bfloat16)
    with torch.no_grad():
        for name, weight in policy.model.named_parameters():
            if ".lora_" in name:
                weight.data = weight.data.float()
                if ".lora_B." in name:
                    weight.fill_(1e-6)
    plain, merged = dict(named_weights(policy, adapters=False)), dict(named_weights(policy))
    name = "model.layers.0.mlp.up_proj.weight"
    lost = (merged[name].bfloat16() == plain[name]).float().mean()
    assert lost > 0.9
    layer = policy.model.get_base_model().model.layers[0].mlp.up_proj
    assert torch.equal(merged[name], plain[name].float() + layer.get_delta_weight("default").float())
