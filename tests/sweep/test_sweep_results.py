"""What a sweep says of its winner, and what it leaves to be used."""

import json
from typing import Any

import pytest
import yaml
from played_sweep import Bench, PlayedRunner, load, steady
from study_runs import evaluation, write_run

from sg_pipeline.config.loader import method_parameters
from sg_pipeline.sweep.claims import Claims
from sg_pipeline.sweep.confirm import confirm, contenders
from sg_pipeline.sweep.document import accounts, sweep_markdown
from sg_pipeline.sweep.figures import draw_figures
from sg_pipeline.sweep.method_file import method_file
from sg_pipeline.sweep.results import sweep_results
from sg_pipeline.sweep.storage import open_study
from sg_pipeline.sweep.trials import read_trials

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
    confirm(given.sweep, chosen, runner, Claims(bench.reports), poll=0.01)
    return sweep_results(given.sweep, search, chosen, bench.data, given.run.seed)


def late(parameters: dict[str, Any]) -> bool:
    return parameters.get("aggregate.schedule.activation", 0.5) > 0.5


@pytest.fixture
def better(bench) -> dict[str, Any]:
    """Return a sweep in which late trust wins by far."""
    return results(
        bench, load(space=LATE, n_trials=12, candidates=1), lambda parameters: 44 if late(parameters) else 12
    )


def test_the_best_trials_and_the_presets_are_run_again_with_every_seed(bench) -> None:
    given = load(n_trials=10, candidates=2)
    search = searched(bench, given)
    chosen = contenders(given.sweep, search)
    assert [contender.label for contender in chosen[:3]] == ["off", "paper", "constant"]
    own = [n for n in search["ranking"] if n > 2][:2]
    assert [contender.label for contender in chosen[3:]] == [f"trial-{n:04d}" for n in own]
    runner = FinishingRunner(bench.data, lambda parameters: 20)
    confirm(given.sweep, chosen, runner, Claims(bench.reports), poll=0.01)
    assert len(runner.played) == 5 * 3
    assert len({name for name, _ in runner.played}) == 15
    confirm(given.sweep, chosen, runner, Claims(bench.reports), poll=0.01)
    assert len(runner.played) == 15


def test_a_winner_that_is_better_is_called_so(better) -> None:
    label = better["winner"]["label"]
    assert label.startswith("trial-")
    rows = better["confirmation"]["rows"]
    assert {(row["right"], row["split"]) for row in rows} == {
        (preset, split) for preset in ("off", "paper", "constant") for split in ("valid_seen", "valid_unseen")
    }
    assert all(row["survives"] and row["value"] == pytest.approx(32 / 48) for row in rows)
    assert f"{label} has the highest success on the validation games" in better["verdict"]
    assert better["verdict"].count("it is better: +66.7 points") == 6


def test_a_difference_that_is_noise_is_called_so(bench) -> None:
    found = results(
        bench, load(space=LATE, n_trials=8, candidates=1), lambda parameters: 25 if late(parameters) else 24
    )
    assert found["winner"]["label"].startswith("trial-")
    assert found["verdict"].count("The difference is noise") == 6
    assert "nothing that this sweep has found is known to be better or worse than the presets" in found["verdict"]


def test_a_preset_may_win(bench) -> None:
    found = results(
        bench, load(n_trials=8, candidates=1), lambda p: 30 if p["aggregate.schedule.kind"] == "off" else 20
    )
    assert found["winner"] == {"label": "off", "parameters": {"aggregate.schedule.kind": "off"}, "preset": True}
    assert found["verdict"].startswith("No searched schedule was better than the preset off")


def test_without_confirming_seeds_nothing_is_claimed(bench) -> None:
    found = results(bench, load(n_trials=6, confirm_seeds=[]), lambda parameters: 0)
    assert found["confirmation"] is None
    assert "this says nothing yet" in found["verdict"]


def test_a_sweep_without_a_complete_trial_has_no_winner(bench) -> None:
    found = results(bench, load(timeout=1e-9), lambda parameters: 0)
    assert found["winner"] is None
    assert "there is no best schedule yet" in method_file(found)
    assert draw_figures(found) == {}
    assert "No trial is complete" in sweep_markdown(found, {})


def test_the_winner_is_a_method_that_can_be_run(better, tmp_path) -> None:
    folder = tmp_path / "conf" / "methods"
    folder.mkdir(parents=True)
    (folder / "mine.yml").write_text(method_file(better))
    tree = method_parameters(tmp_path / "conf", "mine")
    schedule = tree["aggregate"]["schedule"]
    assert {f"aggregate.schedule.{name}": value for name, value in schedule.items()} == better["winner"]["parameters"]
    assert "--params aggregate.schedule.kind=trapezoid," in method_file(better)


def test_off_stays_a_word_in_the_method_file(bench) -> None:
    found = results(
        bench, load(n_trials=4, candidates=1), lambda p: 30 if p["aggregate.schedule.kind"] == "off" else 20
    )
    assert yaml.safe_load(method_file(found))["aggregate"]["schedule"]["kind"] == "off"


def test_every_trial_is_accounted_for_and_shown(better) -> None:
    trials = better["search"]["trials"]
    assert sum(accounts(better).values()) == len(trials) == 12
    figures = draw_figures(better)
    assert set(figures) == {
        "confirmation",
        "schedules",
        "history",
        "curves",
        "slice",
        *(["importance"] if better["search"]["importance"] else []),
    }
    assert all(png.startswith(b"\x89PNG") for png in figures.values())
    text = sweep_markdown(better, {name: f"figures/{name}.png" for name in figures})
    for trial in trials:
        assert f"| {trial['number']} {trial['preset'] or ''}".rstrip() in text
    assert better["verdict"] in text
    assert "figures/schedules.png" in text


def test_importance_falls_on_what_matters(bench) -> None:
    given = load(n_trials=40, pruner="none", space={"shape": "linear"})
    found = searched(bench, given)
    assert set(found["importance"]) == {"activation", "ramp", "annealing", "peak"}
    assert max(found["importance"], key=found["importance"].get) == "activation"  # nothing else decides `steady`
    best = found["trials"][found["ranking"][0]]
    assert best["values"][0] == pytest.approx(steady(best["parameters"], 40))


def test_a_front_is_drawn_where_there_are_two_objectives(bench) -> None:
    given = load(second="steps_to_threshold", pruner="none", threshold=0.45, n_trials=6, confirm_seeds=[])
    found = results(bench, given, lambda parameters: 0)
    assert found["search"]["front"]
    assert "front" in draw_figures(found)
    assert "steps to threshold" in sweep_markdown(found, {})
