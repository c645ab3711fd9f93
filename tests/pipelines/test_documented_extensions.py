"""The examples of docs/ARCHITECTURE.md, "Extending it", with the files and parameters of the page."""

import re

import pytest
from project_copy import REPOSITORY, ProjectCopy

pytestmark = pytest.mark.slow

PAGE = (REPOSITORY / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r'```python title="mine/(\w+\.py)"\n(.*?)```', PAGE, re.DOTALL))
COMMANDS = re.findall(r"^kedro run --env=smoke --pipeline=coevolve --params (\S+),run\.name=\w+$", PAGE, re.MULTILINE)
SHORT = (
    "run.name=mine,coevolve.steps=1,rollout.tasks_per_step=2,rollout.max_turns=3,tasks.limit=4,evaluate.games=2,"
    "environment.pool.workers=1"
)


def test_examples_each_have_a_command() -> None:
    assert len(FILES) == len(COMMANDS) == 4
    assert all(f"={name.removesuffix('.py')}:" in command for name, command in zip(FILES, COMMANDS, strict=True))


@pytest.mark.parametrize("commands", [COMMANDS[:3], COMMANDS[3:]], ids=["schedule_credit_sampler", "environment"])
def test_examples_run_the_whole_graph(commands, tmp_path, base_policy, monkeypatch) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    for name, code in FILES.items():
        (mine / name).write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(mine)
    project = ProjectCopy(tmp_path / "project", base_policy)
    result = project.kedro("run", "--env=smoke", "--pipeline=coevolve", f"--params={','.join([*commands, SHORT])}")
    assert result.exit_code == 0, result.output
    recorded = project.json("08", "mine", "run.json")["parameters"]
    assert all(recorded[name] == value for name, value in re.findall(r"([\w.]+)=(\w+:\w+)", ",".join(commands)))
