"""Workers on one sweep: who begins what, who takes over, what is pruned."""

import subprocess
import sys
import textwrap

import optuna
import pytest
from optuna.trial import TrialState
from played_sweep import PlayedRunner, load, steady

from sg_pipeline.errors import ConfigurationError, DataError, RunFailedError, RunKilledError
from sg_pipeline.sweep.claims import Claims
from sg_pipeline.sweep.storage import explained, open_study


def states(trials) -> list[str]:
    return [trial.state.name for trial in trials]


def test_presets_come_first_and_are_never_pruned(bench) -> None:
    given = load(pruner="median", startup=3)
    runner = bench.search(given, lambda parameters, after: 0.9 - steady(parameters, after))  # what begins late is bad
    trials = bench.trials(given)
    assert [trial.user_attrs.get("preset") for trial in trials[:4]] == ["off", "paper", "constant", None]
    assert states(trials[:3]) == ["COMPLETE"] * 3
    assert len(trials) == 8
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert [after for name, after in runner.played if name == "sweep/trial-0000"] == [10, 20, 30, 40]
    assert trials[0].user_attrs["parameters"] == {"aggregate.schedule.kind": "off"}


def test_hopeless_trial_is_pruned_after_its_schedule_has_begun(bench) -> None:
    space = {"activation": {"low": 0.3, "high": 0.9}, "ramp": 0.0, "annealing": 0.0, "peak": 1.0, "shape": "linear"}
    given = load(startup=3, n_trials=8, space=space)
    good = {"off", "constant", "paper"}

    def success(parameters, after):
        preset = (
            parameters["aggregate.schedule.kind"] != "trapezoid" or parameters["aggregate.schedule.activation"] == 0.5
        )
        return 0.5 if preset else 0.1

    bench.search(given, success)
    trials = bench.trials(given)
    pruned = [trial for trial in trials if trial.state == TrialState.PRUNED]
    assert pruned
    assert not good & {trial.user_attrs.get("preset") for trial in pruned}
    for trial in pruned:
        began = trial.user_attrs["parameters"]["aggregate.schedule.activation"] * 40
        assert began < trial.last_step <= began + 10


def test_killed_and_continued_search_draws_the_same_sweep(bench, tmp_path) -> None:
    given = load()
    bench.search(given)
    whole = [trial.user_attrs["parameters"] for trial in bench.trials(given)]

    other = type(bench)(tmp_path / "other")
    calls = 0

    def dying(parameters, after):
        nonlocal calls
        calls += 1
        if calls % 7 == 0:
            raise RunKilledError("killed")
        return steady(parameters, after)

    for _ in range(20):
        try:
            other.search(given, dying)
            break
        except RunKilledError:
            assert "RUNNING" in states(other.trials(given))
    assert [trial.user_attrs["parameters"] for trial in other.trials(given)] == whole
    assert states(other.trials(given)) == states(bench.trials(given))


def test_hyperband_prunes_too(bench) -> None:
    given = load(pruner="hyperband", n_trials=16, validate_every=5)
    bench.search(given)
    trials = bench.trials(given)
    assert {"COMPLETE", "PRUNED"} == set(states(trials))
    assert all(trial.last_step == 40 for trial in trials if trial.state == TrialState.COMPLETE)
    assert all(trial.last_step < 40 for trial in trials if trial.state == TrialState.PRUNED)


def test_search_again_adds_trials_up_to_the_new_number(bench) -> None:
    bench.search(load(n_trials=4))
    assert len(bench.trials(load())) == 4
    assert not bench.search(load(n_trials=4)).played
    bench.search(load(n_trials=6))
    assert states(bench.trials(load())).count("WAITING") == 0
    assert len(bench.trials(load())) == 6


def test_trial_is_taken_over_only_from_a_dead_worker(bench) -> None:
    given = load(n_trials=3)
    dead = bench.worker(given, PlayedRunner(bench.data))
    trial = dead._new()
    trial.report(0.3, 10)
    living = bench.worker(given, PlayedRunner(bench.data))
    with living._claims.alone():
        assert living._abandoned() is None
        second = living._new()
    assert second.number == 1
    dead._claims.release("sweep/trial-0000")
    with living._claims.alone():
        taken = living._abandoned()
    assert taken.number == 0
    assert taken.user_attrs["preset"] == "off"


def test_trial_of_another_data_folder_is_not_taken_over(bench) -> None:
    given = load(n_trials=3)
    worker = bench.worker(given, PlayedRunner(bench.data))
    trial = worker._new()
    trial.set_user_attr("place", "elsewhere")
    worker._claims.release("sweep/trial-0000")
    runner = PlayedRunner(bench.data)
    bench.worker(given, runner).search()  # and does not wait for it either
    assert {name for name, _ in runner.played} == {"sweep/trial-0001", "sweep/trial-0002"}


def test_three_failed_trials_in_a_row_stop_the_worker(bench) -> None:
    given = load(n_trials=8)

    def failing(parameters, after):
        if parameters["aggregate.schedule.kind"] == "trapezoid" and parameters["aggregate.schedule.activation"] != 0.5:
            raise RunFailedError("run 'x' failed: loss is not finite")
        return 0.5

    with pytest.raises(RunFailedError, match="3 trials in a row have failed, the last one: run 'x' failed"):
        bench.search(given, failing)
    assert states(bench.trials(given)) == ["COMPLETE"] * 3 + ["FAIL"] * 3
    assert bench.trials(given)[5].user_attrs["failure"] == "run 'x' failed: loss is not finite"


def test_no_trial_begins_after_the_timeout(bench) -> None:
    assert not bench.search(load(timeout=1e-9)).played


@pytest.mark.parametrize("second", ["calibration", "steps_to_threshold"])
def test_two_objectives_make_a_front(bench, second) -> None:
    given = load(second=second, pruner="none", threshold=0.45, n_trials=10)
    bench.search(given)
    study = open_study(given.sweep, given, bench.reports)
    assert len(study.directions) == 2
    assert study.best_trials
    for trial in study.get_trials(deepcopy=False):
        success, other = trial.values
        curve = {int(after): value for after, value in trial.user_attrs["validations"].items()}
        assert success == curve[40]
        reached = min([after for after, value in curve.items() if value >= 0.45], default=50)
        assert other == pytest.approx(success + 0.1 if second == "calibration" else reached)


def test_presets_outside_of_the_space_are_tried_and_tpe_still_learns(bench) -> None:
    given = load(space={"peak": {"low": 0.2, "high": 0.8}}, n_trials=12)
    bench.search(given)
    trials = bench.trials(given)
    assert [trial.params for trial in trials[:3]] == [{}, {}, {}]
    assert trials[2].user_attrs["parameters"] == {
        "aggregate.schedule.kind": "constant",
        "aggregate.schedule.value": 1.0,
    }
    # Drawn together by TPE, although the presets have drawn nothing.
    assert any(key.startswith("tpe:relative_params") for key in trials[-1].system_attrs)


def test_open_study_with_other_settings_raises(bench) -> None:
    open_study(load().sweep, load(), bench.reports)
    for sweep, message in (
        ({"space": {"peak": 1.0}}, "sweep.space was"),
        ({"second": "calibration", "pruner": "none"}, "sweep.objectives was"),
        ({"steps": 20}, "sweep.steps was 40, is 20"),
    ):
        given = load(**sweep)
        with pytest.raises(ConfigurationError, match="was begun with other settings") as refused:
            open_study(given.sweep, given, bench.reports)
        assert message in str(refused.value)


def test_open_study_of_a_foreign_study_raises(bench, tmp_path) -> None:
    url = f"sqlite:///{tmp_path}/own.db"
    study = optuna.create_study(storage=url, study_name="sweep")
    study.tell(study.ask(), 1.0)
    given = load(storage=url)
    with pytest.raises(ConfigurationError, match="that no sweep of this project has made"):
        open_study(given.sweep, given, bench.reports)


@pytest.mark.parametrize("url", ["sqlite:////nowhere/at/all.db", "nonsense", "mysql://me:secret@host/db"])
def test_open_study_unreachable_storage_error_hides_the_password(bench, url) -> None:
    given = load(storage=url)
    with pytest.raises(DataError, match="cannot be used") as refused:
        open_study(given.sweep, given, bench.reports)
    assert "secret" not in str(refused.value)


TORN = b'{"op_code": 5, "worker'


@pytest.mark.parametrize(
    "damage", ["torn tail", "no line break at the end", "glued", "glued and torn tail", "blank line"]
)
def test_journal_damaged_is_repaired_without_loss(bench, damage) -> None:
    bench.search(load(n_trials=4))
    journal = bench.reports / "journal.log"
    lines = journal.read_bytes().splitlines(keepends=True)
    expected = bench.trials(load())
    middle = len(lines) // 2
    if "glued" in damage:
        lines[middle : middle + 3] = [b"".join(line.rstrip() for line in lines[middle : middle + 3]) + b"\n"]
    if damage == "blank line":
        lines[middle:middle] = [b"\r\n"]
    lines[-1] = lines[-1].rstrip() if damage.startswith("no") else lines[-1]
    journal.write_bytes(b"".join(lines) + (TORN if "torn" in damage else b""))
    given = load(n_trials=5)
    assert [t.params for t in open_study(given.sweep, given, bench.reports).get_trials()] == [
        t.params for t in expected
    ]
    bench.search(given)
    assert states(bench.trials(load())) == ["COMPLETE"] * 5


@pytest.mark.parametrize("torn", [TORN, TORN + b"\n", b"\0" * 8, b"\xff\n"])
def test_journal_torn_in_the_middle_names_the_line_and_keeps_the_file(bench, torn) -> None:
    given = load(n_trials=2)
    bench.search(given)
    journal = bench.reports / "journal.log"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:6], torn, *lines[6:]]))
    before = journal.read_bytes()
    with pytest.raises(DataError, match=r"journal.log, line 7, has half an entry .* delete that half"):
        open_study(given.sweep, given, bench.reports)
    assert journal.read_bytes() == before
    assert not journal.with_name("journal.log.lock").is_symlink()


def test_journal_damaged_while_in_use_is_reported(bench) -> None:
    given = load(n_trials=2)
    bench.search(given)
    study = open_study(given.sweep, given, bench.reports)
    with (bench.reports / "journal.log").open("ab") as file:
        file.write(TORN)
    study.set_user_attr("another", "worker")
    with pytest.raises(DataError, match=r"journal\.log, has failed"), explained(given.sweep, bench.reports):
        study.set_user_attr("one", "more")


def test_alone_waits_for_a_hanging_worker_with_a_limit(tmp_path) -> None:
    one, other = Claims(tmp_path), Claims(tmp_path)
    with one.alone(), pytest.raises(DataError, match=r"has held .*workers for 0 seconds"), other.alone(patience=0.1):
        pass
    with other.alone(patience=0.1):
        pass


def test_claim_ends_with_its_process(tmp_path) -> None:
    program = f"""
        import sys
        from pathlib import Path
        from sg_pipeline.sweep.claims import Claims
        claims = Claims(Path({str(tmp_path)!r}))
        assert claims.take("sweep/trial-0000")
        print(claims.place, flush=True)
        sys.stdin.read()
    """
    other = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    place = other.stdout.readline().strip()
    claims = Claims(tmp_path)
    assert claims.place == place
    assert not claims.take("sweep/trial-0000")
    other.kill()
    other.wait()
    assert claims.take("sweep/trial-0000")
    for stream in (other.stdin, other.stdout):
        stream.close()
