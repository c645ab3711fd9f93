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
    "aggregate.schedule.kind": "trapezoid",
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


def test_the_layers_lie_in_order_without_those_of_alfworld(rooms):
    recorded = rooms.json("08", "rooms-smoke", "run.json")["parameters"]
    assert recorded["environment.arguments.key_worth"] == 0.25  # the benchmark's
    assert (recorded["tasks.panel"], recorded["rollout.max_turns"]) == ("small", 10)  # --env lies over it
    assert recorded["rollout.tasks_per_step"] == 2  # the command line over all
    assert not {"environment.arguments.engine", "tasks.source", "tasks.data"} & set(recorded)


def test_evaluation_and_report_have_success_score_and_its_parts(rooms):
    for policy in ("base", "final"):
        for mode, splits in rooms.json("08", "rooms-smoke", f"evaluation_{policy}.json").items():
            assert set(splits) == {"dev", "test"}
            for score in splits.values():
                low, high = score["ci95"]
                assert 0 <= low <= score["success_rate"] <= high <= 1
                assert set(score["task_types"]) == {"far", "near"}
                key = score["parts"]["key"]
                assert score["parts"]["chest"]["mean"] == score["success_rate"] <= min(score["score"], key["mean"])
                assert key["episodes"] == score["episodes"]
            table = pl.read_parquet(rooms.data("07", "rooms-smoke") / f"{policy}_{mode}.parquet")
            whole = table.explode("parts").unnest("parts").filter(pl.col("name") == "chest")
            assert (whole["value"] == 1).to_list() == whole["won"].to_list()
    summary = rooms.json("08", "rooms-smoke", "summary.json")
    assert (summary["environment"], summary["panel"]) == (ROOMS, "rows of 5 rooms")
    assert summary["final"]["dev"]["parts"].keys() == {"chest", "key"}
    assert "score_ci95" in summary["base"]["dev"] | summary["final"]["dev"]
    assert "ci95" in summary["difference"]["dev"]["score"]
    report = (rooms.data("08", "rooms-smoke") / "report.md").read_text(encoding="utf-8")
    for text in ("rows of 5 rooms", "Its mean score is", "score, final", "| dev, with guidance: key |"):
        assert text in report


def test_a_trajectory_is_worth_its_score(rooms):
    table = pl.read_parquet(rooms.data("03", "rooms-smoke") / "step_000" / "trajectories.parquet")
    worth = table.group_by("group", "item").agg(pl.col("reward").sum(), pl.col("score", "won").first())
    assert worth["reward"].to_list() == pytest.approx(worth["score"].to_list())
    assert (worth["score"] == 1).to_list() == worth["won"].to_list()


def test_the_warm_start_speaks_the_benchmarks_words(rooms):
    from sg_pipeline.policies.checkpoint import load_policy

    policy = load_policy(rooms.data("06", "rooms-smoke") / "base")
    text = "Find the key and open the chest. You are in the attic. A key is here."
    tokens = ["find", "key", "and", "open", "chest", "in", "attic", "key", "here"]
    assert policy.tokenizer.tokenize(text) == tokens
    episodes = pl.read_parquet(rooms.data("07", "rooms-smoke") / "base_with_guidance.parquet")
    assert episodes["action_parsed"].mean() > 0.5


def test_other_pipelines_and_starts_of_the_run(rooms):
    final = rooms.data("06", "rooms-smoke") / "final" / "policy.json"
    written = final.stat().st_mtime_ns
    for pipeline, options in (("coevolve", ["--only-missing-outputs"]), ("cross_checkpoint", [])):
        result = kedro(rooms, pipeline, *options)
        assert result.exit_code == 0, result.output
    assert final.stat().st_mtime_ns == written
    assert {row["split"] for row in rooms.json("08", "rooms-smoke", "cross_checkpoint.json")} == {"dev", "test"}
    assert "tasks.doors was 2, is 3" in sentence(kedro(rooms, "coevolve", **{"tasks.doors": 3}))


@pytest.mark.parametrize(
    ("given", "layer", "message"),
    [
        ({"tasks.dors": 3}, LAYER, "unknown parameter tasks.dors (found 3): did you mean tasks.doors?"),
        ({"tasks.doors": 0}, LAYER, "parameter tasks.doors: input should be greater than or equal to 1 (found 0)"),
        ({"rollout.tasks_per_step": 4, "tasks.limit": 3}, LAYER, "but tasks.limit leaves only 3 games"),
        ({"environment.name": "rooms_benchmark:Romms"}, LAYER, "has no attribute 'Romms'"),
        ({"environment.name": "rooms:Rooms"}, LAYER, "is a class that plays episodes, but a run also needs its tasks"),
        ({"environment.name": "rooms_benchmark:Unfinished"}, LAYER, "is no benchmark: it has no 'demonstrator'"),
        ({}, LAYER + "evaluate: {splits: [seen]}", "evaluate.splits names 'seen', but the panel has train, dev, test"),
        ({}, "tasks: [", "rooms.yml is not valid YAML"),
        ({}, "tasks: 3", "rooms.yml must hold sections of parameters such as"),
        ({}, "environment: {name: webshop}", "sets environment.name, but is selected by it"),
        ({}, "rollout: {max_turn: 3}", "did you mean rollout.max_turns?"),
    ],
)
def test_what_a_user_can_get_wrong(rooms, given, layer, message):
    with rooms.replaced("conf/environments/rooms.yml", layer.encode()):
        assert message in sentence(kedro(rooms, "coevolve", **{"run.name": "wrong", **given}))
    assert not (rooms.root / "data" / "03_primary" / "wrong").exists()
