"""What `training/trl_trainer.py` relies on in TRL and transformers. A failure here means: read that file again."""

import inspect
import re

import pytest
import torch
from learning_tools import TEMPERATURE
from rounding import LOGP

from sg_pipeline.config.loader import section
from sg_pipeline.training.experience import collate
from sg_pipeline.training.learner import train_step

HINT = "TRL is not what training/trl_trainer.py was written against (1.16); read that module's docstring: "


@pytest.fixture(scope="module")
def grpo_trainer():
    from sg_pipeline.training.trl_trainer import GRPOTrainer

    return GRPOTrainer


def test_version():
    import trl

    assert trl.__version__.startswith("1.16."), HINT + f"found version {trl.__version__}"


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("get_train_dataloader", ["self"]),
        ("_prepare_inputs", ["self", "generation_batch"]),
        ("_compute_loss", ["self", "model", "inputs"]),
        ("log", ["self", "logs", "start_time"]),
        ("_get_grad_norm", ["self", "model", "grad_norm"]),
        ("_send_telemetry", ["self"]),
        ("floating_point_ops", ["self", "inputs"]),
    ],
)
def test_overridden_methods(grpo_trainer, method, parameters):
    assert hasattr(grpo_trainer, method), HINT + f"no method {method}"
    found = list(inspect.signature(getattr(grpo_trainer, method)).parameters)
    assert found == parameters, HINT + f"{method} takes {found}"


def test_evaluation_takes_what_we_pass(grpo_trainer):
    found = list(inspect.signature(grpo_trainer._get_per_token_logps_and_entropies).parameters)
    assert found[:5] == ["self", "model", "input_ids", "attention_mask", "logits_to_keep"], HINT + f"it takes {found}"


def test_loss_gathers_its_metrics_as_we_take_back(grpo_trainer):
    """See `training.sharing.metrics_of_its_own`; an auxiliary loss is one number on every process."""
    source = inspect.getsource(grpo_trainer._compute_loss)
    used = set(re.findall(r"self\.accelerator\.(\w+)", source))
    assert used == {"gather", "reduce", "gather_for_metrics", "num_processes", "sync_gradients"}, HINT + f"uses {used}"


def test_loss_reads_the_inputs_that_we_give(grpo_trainer):
    source = inspect.getsource(grpo_trainer._compute_loss)
    read = set(re.findall(r'inputs(?:\[|\.get\()"(\w+)"', source))
    pictures = {
        "pixel_values", "image_grid_thw", "num_images", "pixel_attention_mask", "spatial_shapes", "num_tiles",
        "image_sizes", "token_type_ids", "mm_token_type_ids", "image_position_ids",
    }  # fmt: skip
    expected = {
        "prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "tool_mask", "advantages",
        "old_per_token_logps", "sampling_per_token_logps", "ref_per_token_logps", "importance_sampling_ratio",
        "num_items_in_batch",
    }  # fmt: skip
    assert read - pictures == expected, HINT + f"_compute_loss reads {sorted(read - pictures)}"


def test_loss_reads_no_setting_that_we_leave_to_trl(grpo_trainer):
    """What is not set in `learner._build_trainer` must be without effect in the losses that we offer."""
    from trl import GRPOConfig

    read = set(re.findall(r"self\.args\.(\w+)", inspect.getsource(grpo_trainer._compute_loss)))
    ours = {"use_bias_correction_kl", "steps_per_generation"}
    off = {"delta": None, "entropy_coef": 0.0, "use_adaptive_entropy": False, "top_entropy_quantile": 1.0,
           "off_policy_mask_threshold": None}  # fmt: skip
    others = {name for name in read if name.startswith(("sapo_", "vespo_", "entropy_"))}
    assert read - ours - set(off) - others == set(), HINT + f"it reads {sorted(read)}"
    defaults = {name: GRPOConfig.__dataclass_fields__[name].default for name in off}
    assert defaults == off, HINT + f"defaults are {defaults}"


def test_loss_evaluates_the_policy_once_through_the_hook(grpo_trainer):
    source = inspect.getsource(grpo_trainer._compute_loss)
    assert source.count("self._get_per_token_logps_and_entropies(") == 1, HINT + "the policy is evaluated elsewhere"
    assert "model(" not in source.replace("_compute_loss(self, model", ""), HINT + "the loss calls the model itself"


def test_lean_evaluation_equals_trls(make_policy, make_experience, monkeypatch):
    from sg_pipeline.training.trl_trainer import ReplayTrainer, policy_token_logps

    policy = make_policy()
    rows = make_experience(policy)
    calls = []
    original = ReplayTrainer._get_per_token_logps_and_entropies

    def both(self, model, input_ids, attention_mask, logits_to_keep, **kwargs):
        lean = policy_token_logps(model, input_ids, self._wanted, self.temperature)
        monkeypatch.setattr(ReplayTrainer, "_lean", lambda self, model: False)
        stock = original(self, model, input_ids, attention_mask, logits_to_keep, compute_entropy=True)
        for ours, theirs in zip(lean[:2], stock[:2], strict=True):
            calls.append(float((ours - theirs).detach()[self._wanted].abs().max()))
        return stock

    monkeypatch.setattr(ReplayTrainer, "_get_per_token_logps_and_entropies", both)
    metrics = train_step(policy, rows, section("train"), seed=0, step=0, temperature=TEMPERATURE).metrics
    assert len(calls) == 2
    assert max(calls) < LOGP, HINT + f"log-probabilities or entropies differ by {max(calls)}"
    # And the stock evaluation trains the same policy.
    monkeypatch.undo()
    other = make_policy()
    lean = train_step(other, rows, section("train"), seed=0, step=0, temperature=TEMPERATURE).metrics
    for key in ("loss", "entropy", "grad_norm_max"):
        assert lean[key] == pytest.approx(metrics[key], rel=1e-4), HINT + f"{key} differs"


def test_padding_does_not_reach_what_is_trained(make_policy, make_experience):
    from sg_pipeline.training.trl_trainer import policy_token_logps

    policy = make_policy()
    rows = make_experience(policy)
    together = collate(rows, pad_id=0)
    ids = torch.cat([together["prompt_ids"], together["completion_ids"]], dim=1)
    with torch.no_grad():
        batch, _, _ = policy_token_logps(policy.model, ids, together["tool_mask"].bool(), TEMPERATURE)
        for i, row in enumerate(rows):
            alone = collate([row], pad_id=0)
            single = torch.cat([alone["prompt_ids"], alone["completion_ids"]], dim=1)
            one, _, _ = policy_token_logps(policy.model, single, alone["tool_mask"].bool(), TEMPERATURE)
            assert torch.allclose(batch[i, : row.length - 1], one[0], atol=LOGP)
            recorded = alone["sampling_per_token_logps"][0]
            assert torch.allclose(one[0], recorded, atol=LOGP)
