"""One project for all tests of the graphs: its games are compiled once, its base policy is warmed up once."""

import sys
from pathlib import Path

import pytest
from project_copy import ProjectCopy

sys.path.append(str(Path(__file__).parents[1] / "agents"))  # tokenizers with the chat templates of the field
sys.path.append(str(Path(__file__).parents[1] / "environments"))  # a little game, and a benchmark of it


@pytest.fixture(scope="session")
def base_policy(tmp_path_factory) -> Path:
    """Return the folder of a policy that writes the format and little sense: enough for verdicts that differ."""
    project = ProjectCopy(tmp_path_factory.mktemp("base"))
    project.run("base_model", "warm", {"base_model.source": "warm_start"})
    return project.data("06", "warm") / "base"


@pytest.fixture(scope="session")
def project(tmp_path_factory, base_policy) -> ProjectCopy:
    return ProjectCopy(tmp_path_factory.mktemp("project"), base_policy)


@pytest.fixture(scope="session")
def finished(project) -> str:
    """Return the name of a finished run; tests read it and leave it as it is."""
    project.run("coevolve", "finished")
    return "finished"
