"""Workers on one sweep: who begins what, who takes over, what is pruned."""

import subprocess
import sys

import optuna
import pytest
from optuna.trial import TrialState
from played_sweep import PlayedRunner, load, steady

from sg_pipeline.errors import ConfigurationError, DataError, RunFailedError, RunKilledError
from sg_pipeline.sweep import claims as module
from sg_pipeline.sweep.claims import Claims
from sg_pipeline.sweep.storage import explained, open_study


def states(trials) -> list[str]:
    return [trial.state.name for trial in trials]


def drawn(parameters) -> bool:
    """Whether these are of no preset."""
    return parameters.get("aggregate.schedule.activation", 0.5) != 0.5


def test_presets_come_first_and_are_never_pruned(bench) -> None:
    given = load(pruner="median", startup=3)
    runner = bench.search(given, lambda parameters, after: 0.9 - steady(parameters, after))  # what begins late is bad
    trials = bench.trials(given)
    assert [trial.user_attrs.get("preset") for trial in trials[:4]] == ["off", "paper", "constant", None]
    assert states(trials[:3]) == ["COMPLETE"] * 3
    assert len(trials) == 8
    assert [after for name, after in runner.played if name == "sweep/trial-0000"] == [10, 20, 30, 40]
    assert trials[0].user_attrs["parameters"] == {"aggregate.schedule.kind": "off"}


def test_hopeless_trial_is_pruned_after_its_schedule_has_begun(bench) -> None:
    space = {"activation": {"low": 0.3, "high": 0.9}, "ramp": 0.0, "annealing": 0.0, "peak": 1.0, "shape": "linear"}
    given = load(startup=3, n_trials=8, space=space)
    bench.search(given, lambda parameters, after: 0.1 if drawn(parameters) else 0.5)
    pruned = [trial for trial in bench.trials(given) if trial.state == TrialState.PRUNED]
    assert pruned
    for trial in pruned:
        assert "preset" not in trial.user_attrs
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
    assert not bench.search(load(n_trials=4)).played
    assert not bench.search(load(timeout=1e-9)).played  # no trial begins after the timeout
    bench.search(load(n_trials=6))
    assert len(bench.trials(load())) == 6
    assert "WAITING" not in states(bench.trials(load()))


def test_trial_is_taken_over_only_from_a_dead_worker(bench) -> None:
    given = load(n_trials=3)
    dead = bench.worker(given, PlayedRunner(bench.data))
    dead._new()
    living = bench.worker(given, PlayedRunner(bench.data))
    assert living._abandoned() is None
    assert living._new().number == 1
    dead._claims.release("sweep/trial-0000")
    taken = living._abandoned()
    assert (taken.number, taken.user_attrs["preset"]) == (0, "off")


def test_trial_of_another_data_folder_is_not_taken_over(bench) -> None:
    given = load(n_trials=3)
    worker = bench.worker(given, PlayedRunner(bench.data))
    worker._new().set_user_attr("place", "elsewhere")
    worker._claims.release("sweep/trial-0000")
    played = bench.search(given).played  # and does not wait for it either
    assert {name for name, _ in played} == {"sweep/trial-0001", "sweep/trial-0002"}


def test_three_failed_trials_in_a_row_stop_the_worker(bench) -> None:
    given = load(n_trials=8)

    def failing(parameters, after):
        if drawn(parameters):
            raise RunFailedError("run 'x' failed: loss is not finite")
        return 0.5

    with pytest.raises(RunFailedError, match="3 trials in a row have failed, the last one: run 'x' failed"):
        bench.search(given, failing)
    assert states(bench.trials(given)) == ["COMPLETE"] * 3 + ["FAIL"] * 3
    assert bench.trials(given)[5].user_attrs["failure"] == "run 'x' failed: loss is not finite"


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


CONSTANT = {"kind": "constant", "value": 1.0}


def test_presets_outside_of_the_space_are_tried_and_tpe_still_learns(bench) -> None:
    given = load(space={"peak": {"low": 0.2, "high": 0.8}}, n_trials=12)
    bench.search(given)
    trials = bench.trials(given)
    assert [trial.params for trial in trials[:3]] == [{}, {}, {}]
    assert trials[2].user_attrs["parameters"] == {f"aggregate.schedule.{n}": v for n, v in CONSTANT.items()}
    # Drawn together by TPE, although the presets have drawn nothing.
    assert any(key.startswith("tpe:relative_params") for key in trials[-1].system_attrs)


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ({"space": {"peak": 1.0}}, "sweep.space was"),
        ({"second": "calibration", "pruner": "none"}, "sweep.objectives was"),
        ({"steps": 20}, "sweep.steps was 40, is 20"),
    ],
)
def test_open_study_with_other_settings_raises(bench, sweep, message) -> None:
    open_study(load().sweep, load(), bench.reports)
    given = load(**sweep)
    with pytest.raises(ConfigurationError, match=f"was begun with other settings .*{message}"):
        open_study(given.sweep, given, bench.reports)


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
    with pytest.raises(DataError, match=r"cannot be used .*sweep\.storage must be null") as refused:
        open_study(given.sweep, given, bench.reports)
    assert "secret" not in str(refused.value)


TORN = b'{"op_code": 5, "worker'


@pytest.mark.parametrize(
    "damaged",
    [
        lambda lines: [*lines, TORN],
        lambda lines: [*lines[:-1], lines[-1].rstrip()],
        lambda lines: [*lines[:9], lines[9].rstrip(), lines[10].rstrip(), *lines[11:]],
        lambda lines: [*lines[:9], lines[9].rstrip(), *lines[10:], TORN],
        lambda lines: [*lines[:9], b"\r\n", *lines[9:]],
    ],
    ids=["torn tail", "no line break at the end", "glued", "glued and torn tail", "blank line"],
)
def test_journal_damaged_is_repaired_without_loss(bench, damaged) -> None:
    given = load(n_trials=4)
    bench.search(given)
    expected = [trial.params for trial in bench.trials(given)]
    journal = bench.reports / "journal.log"
    journal.write_bytes(b"".join(damaged(journal.read_bytes().splitlines(keepends=True))))
    assert [trial.params for trial in bench.trials(given)] == expected
    bench.search(load(n_trials=5))
    assert states(bench.trials(given)) == ["COMPLETE"] * 5


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


def test_alone_waits_for_a_hanging_worker_with_a_limit(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    one, other = Claims(tmp_path), Claims(tmp_path)
    with one.alone(), pytest.raises(DataError, match=r"has held .*workers for 0 seconds"), other.alone():
        pass
    with other.alone():
        pass


def test_claim_ends_with_its_process(tmp_path) -> None:
    program = (
        "import pathlib, sys; from sg_pipeline.sweep.claims import Claims; claims = Claims(pathlib.Path(sys.argv[1])); "
        "claims.take('sweep/trial-0000'); print(claims.place, flush=True); sys.stdin.read()"
    )
    command, pipe = [sys.executable, "-c", program, str(tmp_path)], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as other:
        place = other.stdout.readline().strip()
        claims = Claims(tmp_path)
        assert claims.place == place
        assert not claims.take("sweep/trial-0000")
        other.kill()
    assert claims.take("sweep/trial-0000")
