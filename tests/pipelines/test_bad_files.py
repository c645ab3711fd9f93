"""Missing and damaged files, full and read-only disks: one sentence with the file and the way on; nothing is lost."""

import errno
import os
import shutil
import signal
import subprocess
import sys

import polars as pl
import pytest
from project_copy import wait_for

pytestmark = pytest.mark.slow

STEP = {"coevolve.steps": 3, "coevolve.checkpoint_every": 1}


@pytest.fixture(scope="module")
def kept(project):
    """Return a copy of a finished run of three steps, of which each left a checkpoint."""
    project.run("coevolve", "spoilt", STEP)
    for folder in (project.root / "data").glob("*/spoilt"):
        shutil.copytree(folder, project.root / "kept" / folder.parent.name)
    return project.root / "kept"


@pytest.fixture
def run(project, kept):
    """Return the name of that run; the test may spoil it."""
    for layer in kept.iterdir():
        folder = project.root / "data" / layer.name / "spoilt"
        shutil.rmtree(folder)
        shutil.copytree(layer, folder)
    return "spoilt"


def half(path):
    os.truncate(path, path.stat().st_size // 2)


def without_polarity(path):
    pl.read_parquet(path).drop("polarity").write_parquet(path)


def another_table(path):
    pl.DataFrame({"other": [1]}).write_parquet(path)


@pytest.mark.parametrize(
    ("place", "spoil", "message", "remade"),
    [
        ("03/step_001/trajectories.parquet", half, "is not a readable Parquet file (", True),
        ("06/checkpoints/step_000/model.safetensors", half, "is damaged", True),
        ("03/step_001/trajectories.parquet", without_polarity,
         "does not satisfy the schema RolloutTable (RolloutTable: column_in_dataframe", False),
        ("03/step_001/rollout_report.json", b"{}", "is not a readable JSON file (it does not hold 'counters')", False),
        ("04/step_000/rewards.parquet", another_table, "is not a readable Parquet file (it does not hold", False),
        ("08/steps/step_000.json", b"[]", "is not a readable JSON file (it does not hold 'rollout')", False),
        ("02/panel.json", b'{"splits": 3}', "is not a readable JSON file (it does not hold 'data_root')", False),
        ("02/panel.json", b"{", "is not a readable JSON file (", False),
        ("06/checkpoints/step_000/policy.json", b'{"format_version": 1, "files": {"x": 3}}', "'files'", False),
        ("03/step_001", b"a file", "a part of its path is a file, not a folder; fix that", False),
    ],
)  # fmt: skip
def test_damaged_file_is_named_and_made_again(project, kept, run, place, spoil, message, remade):
    layer, _, rest = place.partition("/")
    path = project.data(layer, run) / rest
    for gone in ("08/steps/step_001.json", "06/checkpoints/step_001", "06/final", "08/report.md"):
        delete(project.data(gone[:2], run) / gone[3:])
    if callable(spoil):
        spoil(path)
    else:
        delete(path)
        path.write_bytes(spoil)
    said = project.refuse("coevolve", run, STEP, "--only-missing-outputs")
    assert str(path) in said
    assert message in said
    assert "--only-missing-outputs" in said
    if remade:
        delete(path if layer == "03" else path.parent)
        project.run("coevolve", run, STEP, "--only-missing-outputs")
        for name in ("03_primary/step_001/trajectories.parquet", "06_models/final/model.safetensors"):
            layer, _, rest = name.partition("/")
            assert (project.data(layer[:2], run) / rest).read_bytes() == (kept / name).read_bytes()
    elif layer == "02":
        project.run("tasks", run, STEP)


def delete(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize(
    ("pipeline", "given", "message"),
    [
        ("tasks", {"tasks.panel": "nothing"}, "tasks.panel is 'nothing'"),
        ("tasks", {"tasks.panel": "cut.json"}, "Panel file {root}/cut.json"),
        ("tasks", {"tasks.panel": "other.json"}, "Panel file {root}/other.json"),
        *(("base_model", {"base_model.source": source, "base_model.path": path}, f"base_model.path is '{path}': ")
          for source in ("checkpoint", "pretrained") for path in ("nowhere/at/all", "conf")),
        ("base_model", {"base_model.source": "checkpoint", "base_model.path": "conf"}, "base_model.source=pretrained"),
        ("base_model", {"base_model.source": "pretrained", "base_model.path": "nobody/nothing"}, "downloads are off"),
    ],
)  # fmt: skip
def test_parameter_that_names_no_such_file_is_refused(project, pipeline, given, message):
    (project.root / "cut.json").write_text("{")
    (project.root / "other.json").write_text('{"sha256": "0", "format": 1}')
    assert message.format(root=project.root) in project.refuse(pipeline, "wrong_file", given)


def test_broken_game_is_named_and_healed(project):
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
    monkeypatch.delenv("ALFWORLD_DATA", raising=False)
    for folder, message in (
        (None, "set tasks.data or the environment variable ALFWORLD_DATA"),
        (tmp_path / "nowhere", f"does not exist: {tmp_path / 'nowhere'}"),
        (tmp_path, f"The folder {tmp_path} holds no official ALFWorld games"),
    ):
        if folder is not None:
            monkeypatch.setenv("ALFWORLD_DATA", str(folder))
        assert message in project.refuse("tasks", "official", {"tasks.source": "official"})
    assert not (tmp_path / "nowhere").exists()


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
    assert not list((project.root / "data").rglob(".*.tmp")), "half-written files were left"
    finished = project.data("03", run) / "step_001" / "trajectories.parquet"
    written_at = finished.stat().st_mtime_ns
    project.run("coevolve", run, STEP, "--only-missing-outputs")
    assert finished.stat().st_mtime_ns == written_at
    assert (project.data("06", run) / "final" / "policy.json").is_file()


@pytest.mark.parametrize(("code", "reason"), [(errno.EACCES, "permission is denied"), (errno.EROFS, "read-only")])
def test_a_folder_that_may_not_be_written(project, monkeypatch, code, reason):
    def refuse(*arguments, **named):
        raise OSError(code, os.strerror(code), "/x/.panel.json.1.tmp")

    monkeypatch.setattr("sg_pipeline.files.tempfile.mkstemp", refuse)
    message = project.refuse("tasks", f"locked{code}")
    assert message.startswith(f"cannot use {project.root}/data/08_reporting/locked{code}/run.json: ")
    assert reason in message


def test_a_defect_of_ours_keeps_its_traceback(project, monkeypatch):
    monkeypatch.setattr("sg_pipeline.environments.alfworld.benchmark.prepared", lambda *_, **__: {}["defect"])
    with pytest.raises(KeyError, match="defect"):
        project.kedro(*project.arguments("tasks", "defect"))


def test_ctrl_c_says_how_to_go_on(project):
    # A shell that starts the tests in the background has them, and so their children, ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = project.process(*project.arguments("coevolve", "interrupted", {"coevolve.steps": 60}))
    signal.signal(signal.SIGINT, before)
    steps = project.root / "data" / "08_reporting" / "interrupted" / "steps"
    wait_for(lambda: list(steps.glob("*.json")) or process.poll() is not None, seconds=60)
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
    assert not (project.root / "conf" / "base" / "data").exists()
