"""One project for all tests of the graphs: its games are compiled once, its base policy is warmed up once."""

import sys
from pathlib import Path
from typing import Any

import pytest
from kedro.framework.project import pipelines
from project_copy import ProjectCopy

from sg_pipeline import pipeline_registry
from sg_pipeline.config import session

sys.path.append(str(Path(__file__).parents[1] / "agents"))  # tokenizers with the chat templates of the field
sys.path.append(str(Path(__file__).parents[1] / "environments"))  # a little game, and a benchmark of it


@pytest.fixture(scope="session")
def registered() -> dict[str, Any]:
    """Return the pipelines that conf/base asks for, whatever a session of this process has asked for."""
    pipelines.set_requested(None)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(session, "_parameters", None)
        patched.setattr(session, "_of_method", None)
        return pipeline_registry.register_pipelines()


@pytest.fixture(scope="session")
def warm_project(tmp_path_factory) -> ProjectCopy:
    """Return a project whose run `warm` has made its base policy by a warm start of two parts."""
    project = ProjectCopy(tmp_path_factory.mktemp("base"), parts=2)
    project.run("base_model", "warm", {"base_model.source": "warm_start", "validation.games": 1})
    return project


@pytest.fixture(scope="session")
def base_policy(warm_project) -> Path:
    """Return the folder of a policy that writes the format and little sense: enough for verdicts that differ."""
    return warm_project.data("06", "warm") / "base"


@pytest.fixture(scope="session")
def project(tmp_path_factory, base_policy) -> ProjectCopy:
    return ProjectCopy(tmp_path_factory.mktemp("project"), base_policy)


@pytest.fixture(scope="session")
def finished(project) -> str:
    """Return the name of a finished run; tests read it and leave it as it is."""
    project.run("coevolve", "finished")
    return "finished"


@pytest.fixture(scope="session")
def language_model(tmp_path_factory) -> Path:
    """Return the folder of a randomly initialised Qwen3."""
    import torch
    from chat_templates import bpe_tokenizer
    from transformers import Qwen3Config, Qwen3ForCausalLM

    folder = tmp_path_factory.mktemp("models") / "Qwen3-nano"
    tokenizer = bpe_tokenizer("qwen3")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = Qwen3Config(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, head_dim=16, num_attention_heads=2,
        num_key_value_heads=1, vocab_size=len(tokenizer), max_position_embeddings=8192,
    )  # fmt: skip
    Qwen3ForCausalLM(config).save_pretrained(folder)
    return folder
