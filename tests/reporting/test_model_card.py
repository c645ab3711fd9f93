"""The model card: metadata as the Hub reads it, and what it says about the policy."""

from huggingface_hub import ModelCard

from sg_pipeline.reporting.model_card import model_card


def score(success: float) -> dict:
    return {"success_rate": success, "ci95": [success - 0.1, success + 0.1], "interval": "wilson", "episodes": 50}


SUMMARY = {
    "run": "study/grpo-seed0",
    "fingerprint": "0123456789abcdef",
    "environment": "alfworld",
    "panel": "official games",
    "panel_sha256": {"valid_seen": "aa", "valid_unseen": "bb"},
    "steps": 80,
    "mode": "with_guidance",
    "base": {"valid_seen": score(0.2), "valid_unseen": score(0.25), "without_guidance": {"valid_seen": score(0.3)}},
    "final": {"valid_seen": score(0.6), "valid_unseen": score(0.5), "without_guidance": {"valid_seen": score(0.4)}},
    "difference": {"valid_seen": {"difference": 0.4, "ci95": [0.3, 0.5]}},
}
IDENTITY = {
    "version": "0.1.0",
    "parameters": {
        "base_model.source": "pretrained",
        "base_model.path": "Qwen/Qwen3-1.7B",
        "aggregate.schedule.kind": "trapezoid",
        "aggregate.schedule.peak": 1.0,
        "evaluate.temperature": 0.4,
        "train.loss_type": "grpo",
    },
}
BEST = {"after": 40, "folder": "checkpoints/step_039", "by": "train_success", "value": 0.7, "measured_on": "episodes"}


def test_model_card_metadata_is_readable_by_the_hub() -> None:
    text = model_card(SUMMARY, IDENTITY, "You are in a kitchen.")
    data = ModelCard(text).data
    assert (data.base_model, data.library_name, data.pipeline_tag) == (
        "Qwen/Qwen3-1.7B", "transformers", "text-generation",
    )  # fmt: skip
    assert data.license is None
    found = {(each.dataset_config, each.dataset_split): each for each in data.eval_results}
    assert {key: each.metric_value for key, each in found.items()} == {
        ("with_guidance", "valid_seen"): 0.6,
        ("with_guidance", "valid_unseen"): 0.5,
        ("without_guidance", "valid_seen"): 0.4,
    }
    seen = found["with_guidance", "valid_seen"]
    assert (seen.dataset_revision, seen.metric_args["ci95"], seen.metric_args["temperature"]) == ("aa", [0.5, 0.7], 0.4)
    for part in (
        "You are in a kitchen.",
        "`aggregate.schedule.kind`: `trapezoid`",
        "20.0 % [10.0 %, 30.0 %] | 60.0 % [50.0 %, 70.0 %]",
        "40.0 % [30.0 %, 50.0 %]",
    ):
        assert part in text


def test_model_card_local_base_model_is_not_named_as_hub_id() -> None:
    parameters = {**IDENTITY["parameters"], "base_model.source": "checkpoint", "base_model.path": "data/base"}
    text = model_card(SUMMARY, {**IDENTITY, "parameters": parameters}, "")
    assert ModelCard(text).data.base_model is None
    assert "data/base" in text


def test_model_card_best_checkpoint_claims_no_evaluation() -> None:
    text = model_card(SUMMARY, IDENTITY, "", best=BEST)
    assert ModelCard(text).data.eval_results is None
    assert "70.0 % on episodes" in text
    assert "60.0 %" not in text


def test_model_card_adapter_is_loaded_with_peft() -> None:
    text = model_card(SUMMARY, IDENTITY, "", adapter=True)
    assert ModelCard(text).data.library_name == "peft"
    assert "AutoPeftModelForCausalLM" in text
