"""Upload of a policy to the Hub, against a stand-in: nothing is uploaded unless everything was asked for and exists."""

import json
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest

from sg_pipeline.config.loader import section
from sg_pipeline.errors import CheckpointError, ConfigurationError
from sg_pipeline.pipelines.publish import publish_policy
from sg_pipeline.policies.checkpoint import MANIFEST

BEST = {"after": 40, "folder": "checkpoints/step_039", "by": "train_success", "value": 0.7, "measured_on": "episodes"}
FILES = ("config.json", "model.safetensors", "optimizer-00001-of-00002.safetensors", "tokenizer.json")
RUN = section("run", name="paper")
ON = section("publish", push_to_hub=True, repo_id="lab/agent")


@pytest.fixture
def models(tmp_path) -> Path:
    """Return a folder with the files that an upload checks."""
    for name in ("final", "checkpoints/step_039"):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        for file in (*FILES, "README.md"):
            (folder / file).write_text(name)
        (folder / MANIFEST).write_text(json.dumps({"files": dict.fromkeys(FILES, "")}))
    return tmp_path


@pytest.fixture
def hub(monkeypatch):
    """Replace the Hub; return the recorded requests."""
    asked: list[dict] = []

    class Api:
        def create_repo(self, repo_id, **options):
            asked.append(options)
            return f"https://hub.test/{repo_id}"

        def upload_folder(self, **options):
            asked.append(options)
            return SimpleNamespace(oid="c0ffee")

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_test")
    return asked


def test_publish_uploads_weights_tokenizer_and_card(models, hub) -> None:
    published = publish_policy(models, ON, RUN)
    assert published == {
        "repo_id": "lab/agent",
        "url": "https://hub.test/lab/agent",
        "commit": "c0ffee",
        "policy": "final",
        "files": ["README.md", "config.json", "model.safetensors", "tokenizer.json"],
    }
    created, uploaded = hub
    assert (created["private"], created["exist_ok"]) == (True, True)
    wanted = huggingface_hub.utils.filter_repo_objects(
        [path.name for path in (models / "final").iterdir()], ignore_patterns=uploaded["ignore_patterns"]
    )
    assert sorted(wanted) == published["files"]
    assert uploaded["folder_path"] == models / "final"
    with_state = publish_policy(models, ON.model_copy(update={"optimizer": True}), RUN)
    assert "optimizer-00001-of-00002.safetensors" in with_state["files"]


def test_publish_best_uploads_the_chosen_checkpoint(models, hub) -> None:
    config = ON.model_copy(update={"policy": "best"})
    with pytest.raises(ConfigurationError, match=r"has no best\.json"):
        publish_policy(models, config, RUN)
    (models / "best.json").write_text(json.dumps(BEST))
    assert publish_policy(models, config, RUN)["policy"] == "checkpoints/step_039"


def test_publish_incomplete_request_raises_and_uploads_nothing(models, hub, monkeypatch) -> None:
    def refused(config, message) -> None:
        with pytest.raises((ConfigurationError, CheckpointError), match=message):
            publish_policy(models, config, RUN)

    refused(section("publish", repo_id="lab/agent"), "push_to_hub is false, so nothing is uploaded")
    refused(section("publish", push_to_hub=True), "repo_id is null")
    (models / "final" / "README.md").unlink()
    refused(ON, "run the pipeline report")
    (models / "final" / "model.safetensors").unlink()
    refused(ON, "run the pipeline coevolve first")
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    refused(ON, "no Hugging Face token")
    assert hub == []
