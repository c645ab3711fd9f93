"""The model card is what the Hub reads; an upload asks for everything that it needs, and takes no more than it says."""

import json
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub import ModelCard

from sg_pipeline.config.publish import PublishConfig
from sg_pipeline.errors import CheckpointError, ConfigurationError
from sg_pipeline.policies.checkpoint import MANIFEST
from sg_pipeline.publishing.card import model_card
from sg_pipeline.publishing.hub import publish


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


def test_the_hub_reads_what_the_card_says() -> None:
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
    for part in ("You are in a kitchen.", "trapezoid (peak 1.0)", "60.0 % [50.0 %, 70.0 %]", "40.0 % [30.0 %, 50.0 %]"):
        assert part in text


def test_a_folder_of_this_machine_is_no_base_model_of_the_hub() -> None:
    parameters = {**IDENTITY["parameters"], "base_model.source": "checkpoint", "base_model.path": "data/base"}
    text = model_card(SUMMARY, {**IDENTITY, "parameters": parameters}, "")
    assert ModelCard(text).data.base_model is None
    assert "data/base" in text


def test_a_checkpoint_that_was_not_evaluated_claims_no_evaluation() -> None:
    text = model_card(SUMMARY, IDENTITY, "", best=BEST)
    assert ModelCard(text).data.eval_results is None
    assert "70.0 % on episodes" in text
    assert "60.0 %" not in text


def test_an_adapter_is_loaded_with_peft() -> None:
    text = model_card(SUMMARY, IDENTITY, "", adapter=True)
    assert ModelCard(text).data.library_name == "peft"
    assert "AutoPeftModelForCausalLM" in text


@pytest.fixture
def models(tmp_path) -> Path:
    """Return policies of a run, as far as an upload looks at them."""
    for name in ("final", "checkpoints/step_039"):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        files = ("config.json", "model.safetensors", "optimizer-00001-of-00002.safetensors", "tokenizer.json")
        for file in (*files, "README.md"):
            (folder / file).write_text(name)
        (folder / MANIFEST).write_text(json.dumps({"files": dict.fromkeys(files, "")}))
    return tmp_path


@pytest.fixture
def hub(monkeypatch):
    """Stand in for the Hub; return what it was asked for."""
    asked: list[tuple[str, dict]] = []

    class Api:
        def create_repo(self, repo_id, **options):
            asked.append(("create", {"repo_id": repo_id, **options}))
            return f"https://hub.test/{repo_id}"

        def upload_folder(self, **options):
            asked.append(("upload", options))
            return SimpleNamespace(oid="c0ffee")

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_test")
    return asked


ON = PublishConfig(push_to_hub=True, repo_id="lab/agent")


def test_an_upload_takes_weights_tokenizer_and_card(models, hub) -> None:
    published = publish(models, ON, "paper")
    assert published == {
        "repo_id": "lab/agent",
        "url": "https://hub.test/lab/agent",
        "commit": "c0ffee",
        "policy": "final",
        "files": ["README.md", "config.json", "model.safetensors", "tokenizer.json"],
    }
    (_, created), (_, uploaded) = hub
    assert (created["private"], created["exist_ok"]) == (True, True)
    wanted = huggingface_hub.utils.filter_repo_objects(
        [path.name for path in (models / "final").iterdir()], ignore_patterns=uploaded["ignore_patterns"]
    )
    assert sorted(wanted) == published["files"]
    assert uploaded["folder_path"] == models / "final"
    with_state = publish(models, ON.model_copy(update={"optimizer": True}), "paper")
    assert "optimizer-00001-of-00002.safetensors" in with_state["files"]


def test_the_best_policy_is_published_where_one_was_chosen(models, hub) -> None:
    config = ON.model_copy(update={"policy": "best"})
    with pytest.raises(ConfigurationError, match=r"holds no best\.json"):
        publish(models, config, "paper")
    (models / "best.json").write_text(json.dumps(BEST))
    assert publish(models, config, "paper")["policy"] == "checkpoints/step_039"


def test_what_is_missing_is_told(models, hub, monkeypatch) -> None:
    with pytest.raises(ConfigurationError, match="push_to_hub is false, so nothing is uploaded"):
        publish(models, PublishConfig(repo_id="lab/agent"), "paper")
    with pytest.raises(ConfigurationError, match="repo_id is null"):
        publish(models, PublishConfig(push_to_hub=True), "paper")
    (models / "final" / "README.md").unlink()
    with pytest.raises(CheckpointError, match="run the pipeline report"):
        publish(models, ON, "paper")
    (models / "final" / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="run the pipeline coevolve first"):
        publish(models, ON, "paper")
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(ConfigurationError, match="no Hugging Face token"):
        publish(models, ON, "paper")
    assert hub == []
