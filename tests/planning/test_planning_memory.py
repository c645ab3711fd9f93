"""Peak memory against what the learner and the sampler of this project really allocate."""

import re
from dataclasses import replace

import pytest
import torch
from live_memory import LiveMemory
from planned import cpu_case, paper_case, published, small_config

from sg_pipeline.config.base_model import TinyConfig
from sg_pipeline.environments.alfworld.vocabulary import alfworld_vocabulary
from sg_pipeline.planning import habits, vllm
from sg_pipeline.planning.config import DevicesConfig
from sg_pipeline.planning.memory import GIB, PROCESS, WORKERS, cache_at_most, memory
from sg_pipeline.planning.shape import shape_of
from sg_pipeline.policies.policy import Policy
from sg_pipeline.policies.tiny import build_tiny
from sg_pipeline.policies.tokenizer import build_tokenizer
from sg_pipeline.randomness import stream
from sg_pipeline.sampling import kv_cache, transformers_sampler
from sg_pipeline.training.experience import ExperienceRow
from sg_pipeline.training.learner import train_step

TOKENS, OWN = 180, 120


@pytest.fixture
def policy() -> Policy:
    tokenizer = build_tokenizer(alfworld_vocabulary())
    return build_tiny(
        TinyConfig(hidden_size=64, layers=4, heads=4, head_dim=16, intermediate_size=192), tokenizer, seed=1
    )


def experience(count: int, tokens: int, own: int) -> list[ExperienceRow]:
    rows = []
    for number in range(count):
        rng = stream(0, "planned", number)
        prompt, completion = (rng.integers(10, 1000, size).tolist() for size in (tokens - own, own))
        rows.append(ExperienceRow(prompt, completion, [-7.0] * own, [1] * own, float(rng.normal())))
    return rows


def measured_step(policy, case, rows) -> int:
    """Return the most bytes that the second step of training has made at once: AdamW's memory is there by then."""
    train_step(policy, rows, case.train, seed=0, step=0)
    live = LiveMemory()
    before = [*policy.model.parameters(), *policy.optimizer_state.values()]
    live.ignore({tensor.untyped_storage()._cdata for tensor in before})
    with live:
        train_step(policy, rows, case.train, seed=0, step=1)
    return live.peak


@pytest.mark.parametrize(("rows", "tokens", "own", "budget"), [(8, TOKENS, OWN, 4 * TOKENS), (4, 6, 2, 6)])
def test_a_step_of_training_takes_what_is_planned(policy, rows, tokens, own, budget):
    shape = shape_of(policy.model.config, "small", "test")
    case = cpu_case(shape, tokens, own, rows=rows, micro_batch_tokens=budget)
    planned = memory(case).moments
    parts = {name: size for name, size in planned["training"].items() if name not in (PROCESS, WORKERS)}
    # Weights and AdamW's memory were there before.
    expected = sum(parts.values()) - parts["weights"] - habits.MOMENTS * shape.parameters * 4
    assert measured_step(policy, case, experience(rows, tokens, own)) == pytest.approx(expected, rel=0.06)


def test_the_cache_is_the_samplers(policy):
    assert habits.CACHE_BLOCK == transformers_sampler.BLOCK
    assert habits.PREFILL_TOKENS == transformers_sampler.PREFILL_TOKENS
    shape = shape_of(policy.model.config, "small", "test")
    case = cpu_case(shape, 300, 200, rows=6, micro_batch_tokens=600)
    sampler = transformers_sampler.TransformersSampler(policy.model)
    session = sampler.open([stream(0, row) for row in range(6)], 1000)
    live = LiveMemory()
    live.ignore({weight.untyped_storage()._cdata for weight in policy.model.parameters()})
    with live:
        session.extend(range(6), [[11] * 100] * 6, [], 200)
    layers = session._cache.layers
    assert all(isinstance(layer, kv_cache.RowLayer) for layer in layers)
    cache = sum(table.nbytes for layer in layers for table in (layer.keys, layer.values))
    parts = memory(case).moments["sampling"]
    assert parts["key-value cache"] == cache + cache // (2 * shape.layers)
    passing = sum(parts[name] for name in ("key-value cache", "forward pass", "logits"))
    assert cache < live.peak < 1.1 * passing


def test_drawing_takes_what_is_planned():
    from sg_pipeline.sampling.draw import draw

    for dtype, logits in ((torch.float32, 0), (torch.bfloat16, 4)):
        table = torch.zeros(8, 5000, dtype=dtype)
        live = LiveMemory()
        live.ignore({table.untyped_storage()._cdata})
        with live:
            draw(table, [0.5] * 8, 1.0)
        assert live.peak == pytest.approx(8 * 5000 * (logits + habits.DRAW_BYTES), rel=0.02)


@pytest.fixture(scope="module")
def paper():
    return paper_case(published("Qwen3-1.7B"))


def test_the_parts_of_the_paper_are_those_of_its_configuration(paper):
    held = memory(paper)
    weights = 1_720_574_976 * 4
    training = held.moments["training"]
    assert training["weights"] == training["reference"] == training["gradients"] == weights
    assert training["optimizer state"] == 2 * weights
    # The figure in conf/paper: 0.23 MB a token.
    assert paper.cache_bytes() == 229_376
    assert cache_at_most(paper) == 128 * 16384 * 229_376
    assert not held.fits
    assert held.largest == "key-value cache"


def test_what_is_not_needed_is_not_counted(paper):
    assert "reference" not in memory(paper.changed({"train.beta": 0.0})).moments["training"]
    adapted = memory(paper.changed({"plan.lora_rank": 16})).moments["training"]
    assert "reference" not in adapted
    assert adapted["gradients"] == paper.shape.adapter(16) * 4
    # What is not trained is kept as it is multiplied: but for the tied embedding and the norms, in two bytes.
    short = paper.changed({"plan.compute": "bfloat16"})
    assert memory(short).moments["training"]["reference"] == 4 * 1_720_574_976 - 2 * paper.shape.matrix_parameters
    assert "weights cast" not in memory(short.changed({"plan.lora_rank": 16})).moments["training"]
    halved = memory(paper.changed({"base_model.dtype": "bfloat16"})).moments
    assert halved["sampling"]["key-value cache"] == pytest.approx(
        memory(paper).moments["sampling"]["key-value cache"] / 2, rel=0.001
    )
    assert "evaluation" not in memory(paper.changed({"plan.evaluated_games": 0})).moments


def test_replicas_hold_everything_and_shards_their_part(paper):
    one = memory(paper).moments["training"]
    replicas = memory(paper.changed({"plan.parallel": "ddp", "plan.devices.count": 8}))
    shards = memory(paper.changed({"plan.parallel": "fsdp", "plan.devices.count": 8}))
    for name in ("weights", "gradients", "optimizer state"):
        assert replicas.moments["training"][name] == one[name]
        assert shards.moments["training"][name] == one[name] // 8
    # The reference is not sharded, and stays between the steps.
    assert shards.moments["training"]["reference"] == shards.moments["sampling"]["reference"] == one["reference"]
    assert replicas.moments["sampling"]["key-value cache"] == pytest.approx(
        memory(paper).moments["sampling"]["key-value cache"] / 8, rel=0.01
    )


def test_memory_grows_with_the_micro_batch_and_the_vocabulary(paper):
    less = memory(paper.changed({"train.micro_batch_tokens": 8192})).moments["training"]
    more = memory(paper).moments["training"]
    assert less["activations"] < 0.6 * more["activations"]
    # Few tokens and a large vocabulary: the gradient of an output layer of its own is the most.
    untied = paper_case(published("Qwen3-8B")).changed({"train.micro_batch_tokens": 256, "rollout.max_length": 256})
    assert memory(untied).moments["training"]["logits"] > 151_936 * 4096 * 4


def test_vllm_takes_its_share_of_the_gpu(paper):
    case = paper.changed({"plan.engine": "vllm"})
    held = memory(case)
    for moment in ("sampling", "training", "evaluation"):
        parts = held.moments[moment]
        # Untied in float32: a second table of the vocabulary. The cache has the rest of the share.
        assert parts[vllm.WEIGHTS] == (1_720_574_976 + 151_936 * 2048) * 4
        assert parts[vllm.WEIGHTS] + parts[vllm.CACHE] == round(0.3 * 139.8 * GIB)
    assert held.fits
    shorter = case.changed({"plan.vllm.dtype": "bfloat16"})
    assert vllm.weights(shorter) == vllm.weights(case) // 2
    assert vllm.trajectories(shorter, 6132) > 2 * vllm.trajectories(case, 6132)
    assert memory(shorter).peak == held.peak
    for elsewhere in (paper, paper.changed({"plan.engine": "vllm"})):
        assert vllm.engine_beside(elsewhere) == {}
    assert "key-value cache" not in memory(elsewhere).moments["sampling"]
    on_cpu = replace(case, plan=case.plan.model_copy(update={"devices": DevicesConfig()}))
    assert memory(on_cpu).moments["sampling"][vllm.CACHE] == case.plan.vllm.cpu_cache_gib * GIB


def complaints(case):
    engine = sum(vllm.engine_in_training(case).values())
    return vllm.complaints(case, sum(memory(case).moments["training"].values()) - engine)


def test_what_does_not_fit_beside_vllm_is_told_with_what_would(paper):
    case = paper.changed({"plan.engine": "vllm", "plan.vllm.dtype": "bfloat16"})
    share = "plan.vllm.gpu_memory_utilization"
    waiting = complaints(case)
    fit = vllm.trajectories(case, case.longest)
    assert len(waiting) == 1
    assert f"holds {fit} of 128 trajectories of {case.longest} tokens at once" in waiting[0]
    enough = float(re.search(r"; ([0-9.]+) would hold all", waiting[0])[1])
    assert vllm.trajectories(case.changed({share: enough}), case.longest) >= 128
    (alone,) = complaints(case.changed({share: 0.03}))
    least = float(re.search(r"; ([0-9.]+) is the least", alone)[1])
    assert vllm.trajectories(case.changed({share: least}), case.rollout.max_length) == 1
    assert vllm.trajectories(case.changed({share: least - 0.01}), case.rollout.max_length) == 0
    crowded = complaints(case.changed({share: 0.9}))[-1]
    most = float(re.search(r"at most ([0-9.]+) leaves it that", crowded)[1])
    assert memory(case.changed({share: most})).moments["training"]
    assert sum(memory(case.changed({share: most})).moments["training"].values()) <= memory(case).available
    assert sum(memory(case.changed({share: most + 0.01})).moments["training"].values()) > memory(case).available


def test_a_guide_is_a_second_model(paper):
    case = replace(paper, guide=published("Qwen3-0.6B"))
    assert memory(case).moments["sampling"]["guide"] > 596_049_920 * 4


def test_a_smaller_model_of_the_same_kind_needs_less():
    shape = shape_of(small_config(), "small", "test")
    case = cpu_case(shape, 100, 50, rows=4, micro_batch_tokens=400)
    assert memory(case).fits
    assert memory(case).peak < memory(replace(case, shape=published("Qwen3-0.6B"))).peak
