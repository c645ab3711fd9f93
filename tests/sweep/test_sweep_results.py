"""What a sweep says of its winner, and what it leaves to be used."""

import json
from typing import Any

import matplotlib as mpl
import pytest
import yaml
from played_sweep import Bench, PlayedRunner, load, steady
from study_runs import evaluation, write_run

from sg_pipeline.config.loader import method_parameters
from sg_pipeline.sweep.claims import Claims
from sg_pipeline.sweep.report import draw_figures, method_file, sweep_markdown
from sg_pipeline.sweep.results import confirm, contenders, read_trials, sweep_results
from sg_pipeline.sweep.storage import load_study, open_study

LATE = {"activation": {"low": 0.55, "high": 0.9}}


class FinishingRunner(PlayedRunner):
    """Writes the files of a finished run: so many games won by how its schedule begins."""

    def __init__(self, data, wins) -> None:
        super().__init__(data)
        self.wins = wins

    def finish(self, run) -> None:
        seed = run.parameters["run.seed"]
        write_run(self.data, run.name, seed)
        reports = self.data / "08_reporting" / run.name
        won = self.wins(dict(run.parameters))
        (reports / "evaluation_final.json").write_text(json.dumps(evaluation(seed, won)))
        (reports / "validation").mkdir()
        (reports / "validation" / f"after_{run.steps:03d}.json").write_text(json.dumps({"success_rate": won / 48}))
        self.played.append((run.name, run.steps))

    def is_finished(self, run) -> bool:
        return (self.data / "08_reporting" / run.name / "summary.json").exists()


def searched(bench: Bench, given) -> dict[str, Any]:
    bench.search(given)
    return read_trials(open_study(given.sweep, given, bench.reports), given.sweep, bench.data)


def results(bench: Bench, given, wins) -> dict[str, Any]:
    search = searched(bench, given)
    chosen = contenders(given.sweep, search)
    runner = FinishingRunner(bench.data, wins)
    confirm(given.sweep, chosen, runner, Claims(bench.reports))
    return sweep_results(given.sweep, search, chosen, bench.data, given.run.seed)


def late(parameters: dict[str, Any]) -> bool:
    return parameters.get("aggregate.schedule.activation", 0.5) > 0.5


LOAD = load(space=LATE, n_trials=12, candidates=1)


@pytest.fixture(scope="module")
def better_bench(tmp_path_factory) -> Bench:
    return Bench(tmp_path_factory.mktemp("better"))


@pytest.fixture(scope="module")
def better(better_bench) -> dict[str, Any]:
    """Return a sweep in which late trust wins by far."""
    return results(better_bench, LOAD, lambda parameters: 44 if late(parameters) else 12)


def draw(bench: Bench, given, found) -> dict[str, bytes]:
    return draw_figures(found, load_study(given.sweep, bench.reports))


def test_confirm_runs_the_best_trials_and_the_presets_with_every_seed_once(bench) -> None:
    given = load(n_trials=10, candidates=2)
    search = searched(bench, given)
    chosen = contenders(given.sweep, search)
    own = [n for n in search["ranking"] if n > 2][:2]
    assert [contender.label for contender in chosen] == ["off", "paper", "constant", *(f"trial-{n:04d}" for n in own)]
    runner = FinishingRunner(bench.data, lambda parameters: 20)
    confirm(given.sweep, chosen, runner, Claims(bench.reports))
    assert len({name for name, _ in runner.played}) == len(runner.played) == 5 * 3
    confirm(given.sweep, chosen, runner, Claims(bench.reports))
    assert len(runner.played) == 15


def test_verdict_on_a_better_winner(better) -> None:
    label = better["winner"]["label"]
    assert label.startswith("trial-")
    rows = better["confirmation"]["rows"]
    assert {(row["right"], row["split"]) for row in rows} == {
        (preset, split) for preset in ("off", "paper", "constant") for split in ("valid_seen", "valid_unseen")
    }
    assert all(row["survives"] and row["value"] == pytest.approx(32 / 48) for row in rows)
    assert better["verdict"].startswith(f"{label} has the highest success on the validation games (")
    assert "better in 6, worse in 0, within the noise in 0 of 6" in better["verdict"]


def test_verdict_on_a_difference_within_the_noise(bench) -> None:
    found = results(bench, load(space=LATE, n_trials=8, candidates=1), lambda p: 25 if late(p) else 24)
    assert found["winner"]["label"].startswith("trial-")
    assert "better in 0, worse in 0, within the noise in 6 of 6" in found["verdict"]


def test_preset_may_win_and_off_stays_a_word_in_the_method_file(bench) -> None:
    given = load(n_trials=8, candidates=1)
    found = results(bench, given, lambda p: 30 if p["aggregate.schedule.kind"] == "off" else 20)
    assert found["winner"] == {"label": "off", "parameters": {"aggregate.schedule.kind": "off"}, "preset": True}
    assert found["verdict"].startswith("The preset off has the highest success")
    assert {row["right"] for row in found["confirmation"]["rows"]} == {"paper", "constant"}
    assert yaml.safe_load(method_file(found))["aggregate"]["schedule"]["kind"] == "off"


def test_sweep_without_a_complete_trial_has_no_winner(bench) -> None:
    given = load(timeout=1e-9)
    found = results(bench, given, lambda parameters: 0)
    assert found["winner"] is None
    assert "there is no best schedule yet" in method_file(found)
    assert draw(bench, given, found) == {}
    assert "No trial is complete" in sweep_markdown(found, {})


def test_winner_is_a_method_that_can_be_run(better, tmp_path) -> None:
    folder = tmp_path / "conf" / "methods"
    folder.mkdir(parents=True)
    (folder / "mine.yml").write_text(method_file(better))
    schedule = method_parameters(tmp_path / "conf", "mine")["aggregate"]["schedule"]
    assert {f"aggregate.schedule.{name}": value for name, value in schedule.items()} == better["winner"]["parameters"]
    assert "--params aggregate.schedule.kind=trapezoid," in method_file(better)


def test_report_shows_every_trial_and_figure(better, better_bench) -> None:
    trials = better["search"]["trials"]
    assert len(trials) == 12
    with mpl.rc_context():  # whatever Optuna sets for its figures is set back
        before = dict(mpl.rcParams)
        figures = draw(better_bench, LOAD, better)
        assert dict(mpl.rcParams) == before
    assert set(figures) - {"importance"} == {"confirmation", "schedules", "history", "curves", "slice"}
    assert ("importance" in figures) == bool(better["search"]["importance"])
    assert all(png.startswith(b"\x89PNG") for png in figures.values())
    text = sweep_markdown(better, {name: f"figures/{name}.png" for name in figures})
    for trial in trials:
        assert f"\n| {trial['number']} {trial['preset'] or ''}".rstrip() in text
    assert better["verdict"] in text
    assert all(f"(figures/{name}.png)" in text for name in figures)


def test_importance_is_highest_for_what_decides(bench) -> None:
    given = load(n_trials=40, pruner="none", space={"shape": "linear"}, confirm_seeds=[])
    found = results(bench, given, lambda parameters: 0)
    importance = found["search"]["importance"]
    assert set(importance) == {"activation", "ramp", "annealing", "peak"}
    assert max(importance, key=importance.get) == "activation"  # nothing else decides `steady`
    best = found["search"]["trials"][found["search"]["ranking"][0]]
    assert best["values"][0] == pytest.approx(steady(best["parameters"], 40))
    assert "importance" in draw(bench, given, found)


def test_front_is_drawn_for_two_objectives(bench) -> None:
    given = load(second="steps_to_threshold", pruner="none", threshold=0.45, n_trials=6, confirm_seeds=[])
    found = results(bench, given, lambda parameters: 0)
    assert found["confirmation"] is None
    assert "not confirmed with other seeds" in found["verdict"]
    assert found["search"]["front"]
    assert {"history", "front", "slice"} <= set(draw(bench, given, found))
    assert "steps to threshold" in sweep_markdown(found, {})
