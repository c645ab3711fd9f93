"""The model card: metadata as the Hub reads it, and what it says about the policy."""

from huggingface_hub import ModelCard
from reported_run import summary

from sg_pipeline.reporting.model_card import model_card

SUMMARY = summary(run="study/grpo-seed0")
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
        (mode, split): success
        for mode, success in (("with_guidance", 0.6), ("without_guidance", 0.325))
        for split in ("valid_seen", "valid_unseen")
    }
    seen = found["with_guidance", "valid_seen"]
    interval = SUMMARY["final"]["valid_seen"]["ci95"]
    assert (seen.dataset_revision, seen.metric_args) == ("abc", {"ci95": interval, "temperature": 0.4})
    for part in (
        "You are in a kitchen.",
        "`aggregate.schedule.kind`: `trapezoid`",
        "25.0 % [14.2 %, 40.2 %] | 60.0 % [44.6 %, 73.7 %]",
        "32.5 % [20.1 %, 48.0 %]",
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
