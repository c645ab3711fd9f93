"""Missing and damaged files, full and read-only disks: one sentence with the file and the way on; nothing is lost."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sg_pipeline.cli.explain import explain
from sg_pipeline.files import atomic_write

pytestmark = pytest.mark.slow

STEP = {"coevolve.steps": 3, "coevolve.checkpoint_every": 1}


@pytest.fixture(scope="module")
def spoilt(project):
    """Return the name of a finished run, and a copy of its files."""
    project.run("coevolve", "spoilt", STEP)
    folders = [layer / "spoilt" for layer in (project.root / "data").iterdir() if (layer / "spoilt").is_dir()]
    kept = project.root / "kept"
    for folder in folders:
        shutil.copytree(folder, kept / folder.parent.name)
    return "spoilt", kept


@pytest.fixture
def finished_copy(project, spoilt):
    """Return the name of a finished run; the test may spoil it."""
    name, kept = spoilt
    for layer in kept.iterdir():
        folder = project.root / "data" / layer.name / name
        shutil.rmtree(folder)
        shutil.copytree(layer, folder)
    return name


@pytest.fixture
def run(project, request):
    """Return the name of a finished run of three steps, of which each left a checkpoint; the test may spoil it."""
    name = request.node.name.partition("[")[0]
    project.run("coevolve", name, STEP)
    return name


def test_a_corrupt_step_is_named_and_made_again(project, run):
    final = project.weights(run)
    path = project.data("03", run) / "step_001" / "trajectories.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    (project.data("08", run) / "steps" / "step_001.json").unlink()
    message = project.refuse("coevolve", run, STEP, "--only-missing-outputs")
    assert f"{path} is not a readable Parquet file" in message
    assert "delete it and run again with --only-missing-outputs" in message
    path.unlink()
    project.run("coevolve", run, STEP, "--only-missing-outputs")
    assert path.read_bytes() == whole
    assert project.weights(run) == final


def test_a_damaged_checkpoint_is_named_and_made_again(project, run):
    final = project.weights(run)
    folder = project.data("06", run) / "checkpoints" / "step_001"
    os.truncate(folder / "model.safetensors", 1000)
    for lost in ("final/policy.json", "base/policy.json"):  # a folder without manifest is none: both are made again
        (project.data("06", run) / lost).unlink()
    message = project.refuse("coevolve", run, STEP, "--only-missing-outputs")
    assert f"'{folder}/model.safetensors' is damaged" in message
    assert "--only-missing-outputs makes it again" in message
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    project.run("coevolve", run, STEP, "--only-missing-outputs")
    assert project.weights(run) == final


def test_a_table_that_is_not_one_of_ours_does_not_reach_the_gradient(project, run):
    import polars as pl

    path = project.data("03", run) / "step_002" / "trajectories.parquet"
    pl.read_parquet(path).drop("polarity").write_parquet(path)
    (project.data("06", run) / "final" / "policy.json").unlink()
    message = project.refuse("coevolve", run, STEP, "--only-missing-outputs")
    assert message.startswith(f"{path} does not satisfy the schema RolloutTable (RolloutTable: column_in_dataframe")
    assert "(e.g. polarity)); delete it and run the same command with --only-missing-outputs" in message


@pytest.mark.parametrize(
    ("place", "content", "message"),
    [
        ("03/step_001/rollout_report.json", b"{}", "is not a readable JSON file (it does not hold 'counters')"),
        ("04/step_000/rewards.parquet", None, "is not a readable Parquet file (it does not hold 'step')"),
        ("08/steps/step_000.json", b"[]", "is not a readable JSON file (it does not hold 'rollout')"),
        ("02/panel.json", b'{"splits": 3}', "is not a readable JSON file (it does not hold 'data_root')"),
        ("06/checkpoints/step_000/policy.json", b'{"format_version": 1, "files": {"x": 3}}', "'files'"),
        ("03/step_001", b"a file", "a part of its path is a file, not a folder; fix that"),
    ],
)
def test_file_that_is_none_of_ours_is_named(project, finished_copy, place, content, message):
    import polars as pl

    layer, _, rest = place.partition("/")
    path = project.data(layer, finished_copy) / rest
    lost = ["08/steps/step_001.json", "06/checkpoints/step_001", "06/final", "08/report.md"]
    for layer, _, rest in (one.partition("/") for one in [*lost, *([place] if path.is_dir() else [])]):
        gone = project.data(layer, finished_copy) / rest
        shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    if content is None:
        pl.DataFrame({"other": [1]}).write_parquet(path)
    else:
        path.write_bytes(content)
    said = project.refuse("coevolve", finished_copy, STEP, "--only-missing-outputs")
    assert str(path) in said
    assert message in said


def test_a_corrupt_panel_of_the_run_is_made_again(project):
    project.run("base_model", "panel")
    project.run("tasks", "panel")
    path = project.data("02", "panel") / "panel.json"
    path.write_text("{")
    message = project.refuse("evaluate", "panel")
    assert f"{path} is not a readable JSON file" in message
    project.run("tasks", "panel")


@pytest.mark.parametrize("content", [None, "{", '{"sha256": "0", "format": 1}'])
def test_panel_files(project, content):
    if content is not None:
        (project.root / "own_panel.json").write_text(content)
    message = project.refuse("tasks", "panel_file", {"tasks.panel": "own_panel.json" if content else "nothing"})
    assert (f"Panel file {project.root / 'own_panel.json'}" if content else "tasks.panel is 'nothing'") in message


def test_a_broken_game_is_named_and_healed(project):
    project.run("tasks", "broken")
    project.run("base_model", "broken")
    root = project.root / "data" / "01_raw" / "games" / project.json("02", "broken", "panel.json")["data_root"]
    games = sorted(root.glob("train/*"))
    for game in games:
        os.truncate(game, 5000)
    message = project.refuse("rollout", "broken")
    assert any(str(game) in message for game in games)
    assert message.endswith("with --pipeline=tasks to check all games and regenerate generated ones")
    project.run("tasks", "broken")
    project.run("rollout", "broken")


def test_official_data(project, monkeypatch, tmp_path):
    official = {"tasks.source": "official"}
    monkeypatch.delenv("ALFWORLD_DATA", raising=False)
    message = project.refuse("tasks", "official", official)
    assert "set tasks.data or the environment variable ALFWORLD_DATA" in message
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path / "nowhere"))
    assert f"does not exist: {tmp_path / 'nowhere'}" in project.refuse("tasks", "official", official)
    assert not (tmp_path / "nowhere").exists()
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
    assert f"The folder {tmp_path} holds no official ALFWorld games" in project.refuse("tasks", "official", official)


def test_the_variable_of_official_data_is_the_users_alone(tmp_path):
    """alfworld, once imported, sets it and makes the folder that it names."""
    code = (
        "import os, sg_pipeline.environments.alfworld.benchmark, alfworld.info; print(os.environ.get('ALFWORLD_DATA'))"
    )
    for given in (None, str(tmp_path / "nowhere")):
        environment = {**os.environ, "HOME": str(tmp_path), "ALFWORLD_DATA": str(given)}
        if given is None:
            del environment["ALFWORLD_DATA"]
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout == f"{given}\n"
    assert list(tmp_path.rglob("*alfworld*")) == []
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("source", ["checkpoint", "pretrained"])
@pytest.mark.parametrize("path", ["nowhere/at/all", "conf"])
def test_a_model_path_that_is_none(project, source, path):
    message = project.refuse("base_model", "model", {"base_model.source": source, "base_model.path": path})
    assert message.startswith(f"base_model.path is '{path}': ")
    assert "config.json" in message or "policy.json" in message or "does not exist" in message
    assert ("base_model.source=pretrained" in message) == (source == "checkpoint")


def test_a_hub_id_is_not_looked_up_unless_allowed(project):
    hub = {"base_model.source": "pretrained", "base_model.path": "nobody/nothing"}
    message = project.refuse("base_model", "model", hub)
    assert "downloads are off" in message


@pytest.mark.parametrize("written", ["trajectories.parquet", "checkpoint"])
def test_no_space_left(project, monkeypatch, written):
    """The libraries' own errors: ours come with a number, those of polars and safetensors only quote it."""
    from safetensors import SafetensorError
    from transformers import PreTrainedModel

    run = f"full_{written}".replace(".", "_")

    def full_parquet(descriptor):
        if "step_002" in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def full_checkpoint(model, folder, *arguments, **named):
        if "step_001" in str(folder):
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
        return save(model, folder, *arguments, **named)

    save = PreTrainedModel.save_pretrained
    with monkeypatch.context() as patch:
        if written == "checkpoint":
            patch.setattr(PreTrainedModel, "save_pretrained", full_checkpoint)
        else:
            patch.setattr(os, "fsync", full_parquet)
        message = project.refuse("coevolve", run, STEP)
    place = {"checkpoint": "06_models/{}/checkpoints/step_001"}.get(written, "03_primary/{}/step_002/" + written)
    assert f"no space left on disk while writing {project.root}/data/{place.format(run)};" in message
    assert "run the same command with --only-missing-outputs" in message
    kept = project.data("03", run) / "step_001" / "trajectories.parquet"
    written_at = kept.stat().st_mtime_ns
    project.run("coevolve", run, STEP, "--only-missing-outputs")
    assert kept.stat().st_mtime_ns == written_at
    assert (project.data("06", run) / "final" / "policy.json").is_file()


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_folder_that_may_not_be_written(project, monkeypatch, code):
    def refuse(*arguments, **named):
        raise OSError(code, os.strerror(code), "/x/.panel.json.1.tmp")

    monkeypatch.setattr("sg_pipeline.files.tempfile.mkstemp", refuse)
    message = project.refuse("tasks", f"locked{code}")
    assert message.startswith(f"cannot use {project.root}/data/08_reporting/locked{code}/run.json: ")
    assert ("read-only" if code == errno.EROFS else "permission is denied") in message


def test_a_defect_of_ours_keeps_its_traceback(project, monkeypatch):
    monkeypatch.setattr("sg_pipeline.environments.alfworld.benchmark.prepared", lambda *_, **__: {}["defect"])
    with pytest.raises(KeyError, match="defect"):
        project.kedro(*project.arguments("tasks", "defect"))


def test_an_unknown_error_is_not_explained(tmp_path):
    with pytest.raises(TypeError) as raised, atomic_write(tmp_path / "file"):
        raise TypeError("ours")
    assert explain(raised.value, tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_says_how_to_go_on(project):
    # A shell that starts the tests in the background has them, and so their children, ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = project.process(*project.arguments("coevolve", "interrupted", {"coevolve.steps": 60}))
    signal.signal(signal.SIGINT, before)
    steps = project.root / "data" / "08_reporting" / "interrupted" / "steps"
    end = time.monotonic() + 60
    while not list(steps.glob("*.json")) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 1, output
    assert output.splitlines()[-1] == (
        "Error: interrupted; run the same command with --only-missing-outputs to continue where it stopped"
    )
    assert "Traceback" not in output


def test_a_run_that_is_started_in_a_folder_of_the_project(project):
    result = project.kedro(*project.arguments("tasks", "below"), folder="conf/base")
    assert result.exit_code == 0, result.output
    assert (project.data("02", "below") / "panel.json").is_file()
    assert not (Path(project.root) / "conf" / "base" / "data").exists()
