"""How a step computes (bfloat16, checkpointing, logits in chunks), and that it is the same step all the same."""

import inspect

import pytest
import torch
from learning_tools import TEMPERATURE, same, sampled, weights
from rounding import BFLOAT16, LOGP, UPDATE, update_difference

from sg_pipeline.config.base_model import TinyConfig
from sg_pipeline.config.loader import section
from sg_pipeline.policies.checkpoint import load_policy, save_policy
from sg_pipeline.policies.compute import computing, shorten_frozen
from sg_pipeline.policies.tiny import build_tiny
from sg_pipeline.randomness import stream
from sg_pipeline.training.experience import ExperienceRow
from sg_pipeline.training.learner import train_step


def step(policy, rows, number=0, **config):
    return train_step(policy, rows, section("train", **config), seed=5, step=number, temperature=TEMPERATURE).metrics


def test_bfloat16_sampler_and_trainer_agree(make_policy):
    policy = make_policy()
    policy.compute = "bfloat16"
    rows, session = sampled(policy, "bfloat16")
    alike = step(policy, rows)
    # Some processors compute both alike to the last bit; more than one rounding of logits of this size is a fault.
    assert alike["logp_gap_mean"] < 2 * BFLOAT16
    assert alike["logp_gap_max"] < 16 * BFLOAT16
    assert alike["tokens_trained"] == 8 * 3 * 6
    _, whole = sampled(policy, "weights")
    for short, long in zip(session._cache.layers, whole._cache.layers, strict=True):
        assert short.keys.dtype == short.values.dtype == torch.bfloat16
        assert 2 * short.keys.nbytes == long.keys.nbytes
    # Weights, gradients (by AdamW's first moments) and AdamW's memory stay in float32.
    assert {tensor.dtype for tensor in [*weights(policy), *policy.optimizer_state.values()]} == {torch.float32}


def test_bfloat16_learns_what_float32_learns(make_policy):
    policies = {"weights": make_policy(), "bfloat16": make_policy()}
    moments = {}
    for compute, policy in policies.items():
        rows, _ = sampled(policy, "weights")
        policy.compute = compute
        step(policy, rows)
        moments[compute] = torch.cat(
            [value.flatten() for key, value in sorted(policy.optimizer_state.items()) if key.startswith("exp_avg/")]
        )
    similarity = torch.nn.functional.cosine_similarity(*moments.values(), dim=0)
    assert 0.99 < float(similarity) < 1 - 1e-7


def test_every_step_computes_alike(make_policy):
    """What accelerate has wrapped once is wrapped again in the next step."""
    policy = make_policy()
    policy.compute = "bfloat16"
    seen = []
    for number in range(2):
        rows, _ = sampled(policy, "bfloat16")
        hook = policy.model.model.layers[0].mlp.down_proj.register_forward_hook(lambda m, i, o: seen.append(o.dtype))
        step(policy, rows, number)
        hook.remove()
    assert set(seen) == {torch.bfloat16}
    assert not {"forward", "_original_forward", "_is_accelerate_prepared"} & set(vars(policy.model))


def test_compute_is_kept_with_the_policy(make_policy, tmp_path):
    policy = make_policy()
    save_policy(policy, tmp_path / "plain")
    assert "compute" not in (tmp_path / "plain" / "policy.json").read_text()
    policy.compute = "bfloat16"
    save_policy(policy, tmp_path / "short")
    loaded = load_policy(tmp_path / "short")
    assert (load_policy(tmp_path / "plain").compute, loaded.compute) == ("weights", "bfloat16")
    assert same(weights(policy), weights(loaded))


def test_frozen_weights_in_bfloat16_change_nothing_under_autocast(make_policy):
    model, ids = make_policy().model, torch.tensor([[11, 12, 13, 14]])
    with torch.no_grad(), computing("bfloat16", model.device):
        before = model(input_ids=ids).logits
    shorten_frozen(model)
    assert model.lm_head.weight.dtype == torch.float32  # it is trained
    model.requires_grad_(False)
    shorten_frozen(model)
    assert model.lm_head.weight.dtype == torch.bfloat16
    assert model.model.embed_tokens.weight.dtype == model.model.norm.weight.dtype == torch.float32
    with torch.no_grad(), computing("bfloat16", model.device):
        assert torch.equal(before, model(input_ids=ids).logits)


def kept_bytes(run):
    """Return what autograd keeps for backward while `run` runs, and the most of it at once is at most that."""
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = run()
    return sum(kept.values()), result


def test_checkpointing_is_the_same_step_with_less_memory(make_policy, make_experience):
    results, start = {}, weights(make_policy())
    for on in (False, True):
        policy = make_policy()
        rows = make_experience(policy)
        kept, metrics = kept_bytes(lambda p=policy, r=rows, c=on: step(p, r, gradient_checkpointing=c))
        results[on] = kept, metrics, weights(policy)
        assert not policy.model.is_activation_checkpointing
    (plain, first, one), (less, second, other) = results[False], results[True]
    for key in ("loss", "entropy", "grad_norm_max"):
        assert second[key] == pytest.approx(first[key], rel=1e-4)
    assert update_difference(start, other, one) < UPDATE
    assert less < 0.7 * plain


def test_logits_in_chunks_are_the_same_step_with_less_memory(make_policy, make_experience):
    results, start = {}, weights(make_policy())
    for chunk in (None, 8):
        policy = make_policy()
        rows = make_experience(policy)
        kept, metrics = kept_bytes(lambda p=policy, r=rows, c=chunk: step(p, r, logits_chunk_tokens=c))
        results[chunk] = kept, metrics, weights(policy)
    (plain, first, one), (less, second, other) = results[None], results[8]
    assert second["loss"] == pytest.approx(first["loss"], rel=1e-4)
    assert second["entropy"] == pytest.approx(first["entropy"], rel=1e-4)
    assert update_difference(start, other, one) < UPDATE
    table = first["tokens_trained"] * policy.model.config.vocab_size * 4
    assert plain - less > 0.8 * table


def test_a_trajectory_of_any_length_trains_whatever_the_budget(tokenizer):
    config = TinyConfig(hidden_size=16, layers=1, heads=1, head_dim=16, intermediate_size=16, max_position=8192)
    policy = build_tiny(config, tokenizer, seed=3)
    chance = stream(0, "long")
    ids = [chance.integers(10, 1000, length).tolist() for length in (5000, 300)]
    rows = [
        ExperienceRow(one[:100], one[100:], [-7.0] * (len(one) - 100), [1] * (len(one) - 100), sign)
        for one, sign in zip(ids, (1.0, -1.0), strict=True)
    ]
    before = weights(policy)
    metrics = step(policy, rows, micro_batch_tokens=512, logits_chunk_tokens=512)
    assert metrics["tokens_trained"] == 5100
    assert metrics["optimizer_steps"] == 1
    assert not same(before, weights(policy))


def test_fused_evaluation_equals_the_lean_one(make_policy, make_experience):
    """On GPUs the fused layer is taken; without Triton it computes the same."""
    from trl.trainer.utils import add_fused_lm_head

    from sg_pipeline.training.experience import collate
    from sg_pipeline.training.token_logps import fused_token_logps, policy_token_logps

    policy = make_policy()
    batch = collate(make_experience(policy), pad_id=0)
    ids, wanted = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1), batch["tool_mask"].bool()
    logps, entropies, _ = policy_token_logps(policy.model, ids, wanted, TEMPERATURE)
    add_fused_lm_head(policy.model, temperature=TEMPERATURE, outputs=("log_probs", "entropy"))
    fused, entropy, _ = fused_token_logps(policy.model, ids, wanted)
    assert fused.shape == wanted.shape
    assert torch.allclose(logps, fused, atol=LOGP)
    assert torch.allclose(entropies, entropy, atol=LOGP)
    assert not fused[~wanted].any()


def test_what_is_fused_can_train(make_policy, make_experience, monkeypatch):
    from sg_pipeline.training.trl_trainer import ReplayTrainer

    results = []
    for lean in (True, False):
        if not lean:
            monkeypatch.setattr(ReplayTrainer, "_lean", lambda self, model: False)
        policy = make_policy()
        results.append((step(policy, make_experience(policy), micro_batch_tokens=60), weights(policy)))
    assert results[1][0]["loss"] == pytest.approx(results[0][0]["loss"], rel=1e-4)
    assert results[1][0]["entropy"] == pytest.approx(results[0][0]["entropy"], rel=1e-4)
    assert update_difference(weights(make_policy()), results[1][1], results[0][1]) < UPDATE


def test_adams_memory_is_handed_over(make_policy, make_experience):
    policy = make_policy()
    rows = make_experience(policy)
    step(policy, rows)
    places = {key: value.data_ptr() for key, value in policy.optimizer_state.items()}
    step(policy, rows, 1)
    assert {key: value.data_ptr() for key, value in policy.optimizer_state.items()} == places
    assert {float(value) for key, value in policy.optimizer_state.items() if key.startswith("step/")} == {2.0}


def test_reference_is_read_once(make_policy, make_experience, tmp_path, monkeypatch):
    from sg_pipeline.policies import checkpoint

    held, fresh = make_policy(), make_policy()
    save_policy(held, tmp_path / "base")
    rows = make_experience(held)
    reads = []
    load = checkpoint.load_policy
    monkeypatch.setattr(checkpoint, "load_policy", lambda *a, **k: reads.append(a) or load(*a, **k))
    results = {}
    for policy, forget in ((held, False), (fresh, True)):
        results[forget] = []
        for number in range(3):
            if forget:
                policy.reference = None
            config = section("train", beta=0.1, learning_rate=3e-3)
            metrics = train_step(policy, rows, config, 5, number, reference=tmp_path / "base").metrics
            results[forget].append({key: value for key, value in metrics.items() if key != "seconds"})
        assert len(reads) == (4 if forget else 1)
    assert results[True] == results[False]
    assert results[True][2]["kl"] > 1e-4
    assert same(weights(held), weights(fresh))
    assert "forward" not in vars(held.reference.model)
    assert "reference" not in inspect.signature(save_policy).parameters
