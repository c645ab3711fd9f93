"""Several ranks with a vLLM engine each: the run of one process; what ends one ends all, and leaves nothing behind.

Run with `bash tests/sampling/vllm.sh`.
"""

import sys
from pathlib import Path

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed (docs/vllm.md)")

sys.path.append(str(Path(__file__).parents[1] / "pipelines"))  # a project of the tests' own

from project_copy import ProjectCopy, wait_for
from same_run import assert_same_run

pytestmark = pytest.mark.timeout(900)  # processes that each import torch, TRL and vLLM

ROOT = Path(__file__).resolve().parents[2]
VLLM = {"sampling.engine": "vllm", "train.sampler_correction": "token_truncate", "distributed.timeout_s": 120}
KEDRO = ("-m", "kedro")


def torchrun(ranks):
    return ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return ProjectCopy(tmp_path_factory.mktemp("ranks"), ROOT / "data" / "06_models" / "tiny-alfworld" / "base")


@pytest.fixture(scope="module")
def alone(project):
    """The name of a run of one process."""
    code, output = end_of(project, "one", KEDRO)
    assert code == 0, output
    return "one"


def end_of(project, run, driver, **parameters):
    process = project.process(*project.arguments("coevolve", run, VLLM | parameters), driver=driver)
    output, _ = process.communicate(timeout=400)
    return process.returncode, output


@pytest.mark.parametrize(("strategy", "ranks"), [("ddp", 3), ("fsdp2", 2)])
def test_several_ranks_make_the_run_of_one(project, alone, strategy, ranks):
    """There are two groups: a third rank plays nothing, and has no engine that the others' could wait for."""
    code, output = end_of(project, strategy, (*torchrun(ranks), *KEDRO), **{"distributed.strategy": strategy})
    assert code == 0, output
    assert f"shared by {ranks} processes ({strategy})" in output
    assert_same_run(project, alone, strategy)  # the gaps to the trainer of all ranks' turns among the rest
    assert project.weights(strategy) != project.weights(strategy, "base")
    for step in range(4):
        seconds = project.json("08", strategy, f"steps/step_{step:03d}.json")["seconds"]
        assert seconds["total"] == pytest.approx(sum(value for name, value in seconds.items() if name != "total"))
    assert not project.orphans()


def test_an_engine_that_sleeps_while_the_policy_is_trained_changes_nothing(project, alone, tmp_path):
    """vLLM's whole way but for the memory, which no CPU gives back."""
    driver = (str(Path(__file__).with_name("sleeping_run.py")), str(tmp_path / "diary"))
    code, output = end_of(project, "asleep", driver, **{"sampling.vllm.sleep": "true"})
    assert code == 0, output
    done = (tmp_path / "diary").read_text(encoding="utf-8").split()
    assert done.count("sleep") == done.count("wake_up") == 4
    asleep = [done[place : place + 4] for place, name in enumerate(done) if name == "sleep"]
    assert asleep == [["sleep", "train_step", "wake_up", "reload_weights"]] * 4
    assert_same_run(project, alone, "asleep")


def test_an_engine_that_does_not_start_on_one_rank_ends_all_with_its_sentence(project):
    driver = (*torchrun(2), str(Path(__file__).with_name("one_rank_without_vllm.py")), "1")
    code, output = end_of(project, "missing", driver)
    assert code == 1, output
    told = [line for line in output.splitlines() if line.startswith("Error: ")]
    assert len(told) == 1, output
    assert "vLLM cannot be imported" in told[0]
    wait_for(lambda: not project.orphans())


def test_a_killed_rank_ends_the_other_which_leaves_nothing_behind(project):
    driver = (*torchrun(2), str(ROOT / "tests" / "pipelines" / "one_rank_killed.py"), "1", "in_train", "1")
    code, output = end_of(project, "killed", driver)
    assert code == 1, output
    told = [line for line in output.splitlines() if line.startswith("Error: ")]
    assert len(told) == 1, output
    assert "another process of this run has died" in told[0]
    wait_for(lambda: not project.orphans())
