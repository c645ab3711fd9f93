"""The whole graph with a benchmark of the user's own: nothing in it is ALFWorld's."""

import polars as pl
import pytest
from project_copy import ProjectCopy, sentence

pytestmark = pytest.mark.slow

ROOMS = "rooms_benchmark:RoomsBenchmark"
LAYER = """
environment: {arguments: {key_worth: 0.25}}
base_model: {source: warm_start}
rollout: {max_turns: 12}
train: {learning_rate: 1.0e-3}
"""
GIVEN = {
    "environment.name": ROOMS,
    "environment.pool.workers": 1,
    "run.threads": 1,
    "coevolve.steps": 2,
    "coevolve.checkpoint_every": 1,
    "rollout.tasks_per_step": 2,
    "train.minibatch": 8,
    "aggregate.schedule.activation": 0,
    "aggregate.schedule.full": 0.25,
}


@pytest.fixture(scope="module")
def rooms(tmp_path_factory) -> ProjectCopy:
    project = ProjectCopy(tmp_path_factory.mktemp("rooms"))
    folder = project.root / "conf" / "environments"
    (folder / "rooms.yml").write_text(LAYER, encoding="utf-8")
    result = kedro(project, "coevolve")
    assert result.exit_code == 0, result.output
    return project


def kedro(project, pipeline, *options, **given):
    parameters = ",".join(f"{name}={value}" for name, value in {**GIVEN, **given}.items())
    return project.kedro("run", "--env=smoke", f"--pipeline={pipeline}", f"--params={parameters}", *options)


def test_the_run_has_a_name_of_its_own_and_the_layers_lie_in_order(rooms):
    recorded = rooms.json("08", "rooms-smoke", "run.json")["parameters"]
    assert not (rooms.root / "data" / "08_reporting" / "smoke").exists()
    assert recorded["environment.arguments.key_worth"] == 0.25  # the benchmark's
    assert (recorded["tasks.panel"], recorded["rollout.max_turns"]) == ("small", 10)  # --env lies over it
    assert (recorded["rollout.tasks_per_step"], recorded["train.minibatch"]) == (2, 8)  # the command line over all
    assert recorded["evaluate.splits"] is None
    # What conf/base says for ALFWorld is not here.
    assert not {"environment.arguments.engine", "tasks.source", "tasks.data"} & set(recorded)


def test_success_and_score_of_each_split(rooms):
    summary = rooms.json("08", "rooms-smoke", "summary.json")
    assert (summary["environment"], summary["panel"]) == (ROOMS, "rows of 5 rooms")
    for part in ("base", "final"):
        for mode in (summary[part], summary[part]["without_guidance"]):
            assert {"dev", "test"} <= set(mode)
            for split in ("dev", "test"):
                score = mode[split]
                low, high = score["ci95"]
                assert 0 <= low <= score["success_rate"] <= high <= 1
                assert score["score"] >= score["success_rate"]
                assert set(score["task_types"]) == {"far", "near"}
    graded = [part for part in ("base", "final") if "score_ci95" in summary[part]["dev"]]
    assert graded
    for part in graded:
        low, high = summary[part]["dev"]["score_ci95"]
        assert low <= summary[part]["dev"]["score"] <= high
    assert "ci95" in summary["difference"]["dev"]["score"]
    report = (rooms.data("08", "rooms-smoke") / "report.md").read_text(encoding="utf-8")
    assert "rows of 5 rooms" in report
    assert "Its mean score is" in report
    assert "score, final" in report


def test_parts_of_the_score_of_each_split(rooms):
    for policy in ("base", "final"):
        for mode, splits in rooms.json("08", "rooms-smoke", f"evaluation_{policy}.json").items():
            for score in splits.values():
                assert score["parts"]["chest"]["mean"] == score["success_rate"]
                assert score["parts"]["key"]["mean"] >= score["success_rate"]
                low, high = score["parts"]["key"]["ci95"]
                assert 0 <= low <= score["parts"]["key"]["mean"] <= high <= 1
                assert score["parts"]["key"]["episodes"] == score["episodes"]
            table = pl.read_parquet(rooms.data("07", "rooms-smoke") / f"{policy}_{mode}.parquet")
            whole = table.explode("parts").unnest("parts").filter(pl.col("name") == "chest")
            assert (whole["value"] == 1).to_list() == whole["won"].to_list()
    assert rooms.json("08", "rooms-smoke", "summary.json")["final"]["dev"]["parts"].keys() == {"chest", "key"}
    report = (rooms.data("08", "rooms-smoke") / "report.md").read_text(encoding="utf-8")
    assert "| dev, with guidance: key |" in report
    assert "| test, without guidance: chest |" in report


def test_a_trajectory_is_worth_its_score(rooms):
    for step in range(2):
        table = pl.read_parquet(rooms.data("03", "rooms-smoke") / f"step_{step:03d}" / "trajectories.parquet")
        worth = table.group_by("group", "item").agg(pl.col("reward").sum(), pl.col("score", "won").first())
        assert worth["reward"].to_list() == pytest.approx(worth["score"].to_list())
        assert set(worth["score"]) <= {0.0, 0.25, 1.0}
        assert (worth["score"] == 1).to_list() == worth["won"].to_list()


def test_the_warm_start_speaks_the_benchmarks_words(rooms):
    from sg_pipeline.policies.checkpoint import load_policy

    policy = load_policy(rooms.data("06", "rooms-smoke") / "base")
    text = "Find the key and open the chest. You are in the attic. A key is here."
    tokens = ["find", "key", "and", "open", "chest", "in", "attic", "key", "here"]
    assert policy.tokenizer.tokenize(text) == tokens
    episodes = pl.read_parquet(rooms.data("07", "rooms-smoke") / "base_with_guidance.parquet")
    assert episodes["action_parsed"].mean() > 0.5


def test_the_run_goes_on_and_keeps_its_identity(rooms):
    final = rooms.data("06", "rooms-smoke") / "final"
    written = (final / "policy.json").stat().st_mtime_ns
    again = kedro(rooms, "coevolve", "--only-missing-outputs")
    assert again.exit_code == 0, again.output
    assert (final / "policy.json").stat().st_mtime_ns == written
    assert "tasks.doors was 2, is 3" in sentence(kedro(rooms, "coevolve", **{"tasks.doors": 3}))


def test_other_pipelines_of_the_run(rooms):
    result = kedro(rooms, "cross_checkpoint")
    assert result.exit_code == 0, result.output
    table = rooms.json("08", "rooms-smoke", "cross_checkpoint.json")
    assert {row["split"] for row in table} == {"dev", "test"}
    assert any("score" in row["difference"] for row in table)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tasks.dors": 3}, "unknown parameter tasks.dors (found 3): did you mean tasks.doors?"),
        ({"tasks.doors": 0}, "parameter tasks.doors: input should be greater than or equal to 1 (found 0)"),
        ({"rollout.tasks_per_step": 4, "tasks.limit": 3}, "but tasks.limit leaves only 3 games"),
        ({"environment.name": "rooms_benchmark:Romms"}, "has no attribute 'Romms'"),
        ({"environment.name": "rooms:Rooms"}, "is a class that plays episodes, but a run also needs its tasks"),
        ({"environment.name": "rooms_benchmark:Unfinished"}, "is no benchmark: it has no 'demonstrator'"),
    ],
)
def test_what_a_user_can_get_wrong(rooms, given, message):
    assert message in sentence(kedro(rooms, "coevolve", **{"run.name": "wrong", **given}))


def test_missing_split_is_reported_before_anything_is_rolled_out(rooms):
    path = rooms.root / "conf" / "smoke" / "parameters_evaluate.yml"
    whole = path.read_text(encoding="utf-8")
    rooms.configure("evaluate", splits=["valid_seen"])
    try:
        message = sentence(kedro(rooms, "coevolve", **{"run.name": "splits"}))
    finally:
        path.write_text(whole, encoding="utf-8")
    assert message == "evaluate.splits names 'valid_seen', but the panel has train, dev, test"
    assert not (rooms.root / "data" / "03_primary" / "splits").exists()


def test_unreadable_benchmark_file_is_reported(rooms):
    path = rooms.root / "conf" / "environments" / "rooms.yml"
    try:
        for content, expected in (
            ("tasks: [", "rooms.yml is not valid YAML"),
            ("tasks: 3", "rooms.yml must hold sections of parameters such as"),
            ("environment: {name: webshop}", "sets environment.name, but is selected by it"),
            ("rollout: {max_turn: 3}", "did you mean rollout.max_turns?"),
        ):
            path.write_text(content, encoding="utf-8")
            assert expected in sentence(kedro(rooms, "tasks", **{"run.name": "wrong"}))
    finally:
        path.write_text(LAYER, encoding="utf-8")
