"""The shape of the graphs: what people see in kedro viz, and what a resumed run relies on."""

import pytest

from sg_pipeline.config.loader import section
from sg_pipeline.hooks.run import _trains
from sg_pipeline.pipelines.step import coevolve
from sg_pipeline.rewards.trust import Constant, Off, Trapezoid
from sg_pipeline.runs.steps import unroll

SINGLE = ("tasks", "base_model", "rollout", "validate", "aggregate", "train", "evaluate", "report", "prompting")
OTHERS = ("cross_checkpoint", "distill", "live", "plan", "publish", "study", "sweep", "validation")


def test_every_pipeline_is_registered_and_the_main_job_is_the_default(registered):
    assert set(registered) == {"__default__", "coevolve", *SINGLE, *OTHERS}
    assert registered["__default__"].describe() == registered["coevolve"].describe()
    for name in ("rollout", "validate", "aggregate", "train"):
        assert [node.name for node in registered[name].nodes] == [f"step.single.{name}"]


def test_no_step_leaves_an_output_that_nobody_reads(registered):
    """Kedro viz would draw each of them beside its phase, also while the phase is folded."""
    assert registered["coevolve"].outputs() == {"page", "model_card", "report"}
    assert {node for name in ("tasks", "base_model", "evaluate", "report") for node in registered[name].nodes} <= set(
        registered["coevolve"].nodes
    )


def test_only_what_trains_takes_over_the_steps_of_another_run(registered):
    assert {name for name, pipeline in registered.items() if _trains(pipeline)} == {
        "__default__", "coevolve", "validation",
    }  # fmt: skip


def test_every_dataset_of_the_main_job_has_a_place_in_the_catalog(registered, project):
    """What no entry names would live in memory, and a resumed run would make it again."""
    from kedro.config import OmegaConfigLoader
    from kedro.io import DataCatalog

    from sg_pipeline.settings import CONFIG_LOADER_ARGS

    loader = OmegaConfigLoader(str(project.root / "conf"), env="base", **CONFIG_LOADER_ARGS)
    catalog = DataCatalog.from_config(loader["catalog"])
    in_memory = set()
    for pipeline in registered.values():
        for name in pipeline.datasets():
            if not name.startswith("param") and (name not in catalog or catalog.get(name)._EPHEMERAL):
                in_memory.add(name.rpartition(".")[2])
    assert in_memory == {"policy", "validated", "dials", "gathered_metrics", "shown_steps", "lessons", "sweep_trials"}


def test_every_policy_that_is_written_down_is_validated_as_it_lies_on_the_disk(registered):
    """A checkpoint's dataset hands on the live policy, which may have been trained further by then."""
    played = {node.outputs[0]: node for node in registered["validation"].nodes if node.name.startswith("validation_a")}
    assert list(sorted(played)) == [f"validation.after_{after:03d}" for after in range(10, 90, 10)]
    folders = [[name for name in played[output].inputs if ".folder_" in name] for output in sorted(played)]
    assert folders == [[f"validation.folder_{after - 1:03d}"] for after in range(10, 80, 10)] + [[]]
    assert "final_policy" in played["validation.after_080"].inputs
    one = registered["validation"].to_outputs("validation.after_010")
    assert sum(node.name.endswith(".train") for node in one.nodes) == 10


@pytest.mark.parametrize("steps", [1, 2, 7, 80])
@pytest.mark.parametrize("checkpoint_every", [1, 3, 10])
def test_a_step_has_four_nodes_and_the_policy_goes_through_all_of_them(steps, checkpoint_every):
    config, rewards = section("coevolve", steps=steps, checkpoint_every=checkpoint_every), section("aggregate")
    schedule, graph = rewards.schedule, coevolve(config, rewards)
    assert len(graph.nodes) == 4 * steps
    link = "base_policy"
    for place in unroll(config, schedule):
        nodes = {node.name.rpartition(".")[2]: node for node in graph.nodes if node.namespace == place.namespace}
        assert set(nodes) == {"rollout", "validate", "aggregate", "train"}
        assert link in nodes["rollout"].inputs
        assert link in nodes["train"].inputs
        (link,) = (output for output in nodes["train"].outputs if not output.endswith(("metrics", "logprob_gaps")))
    assert link == "final_policy"
    written = [place.index + 1 for place in unroll(config, schedule) if place.policy_out.endswith(".checkpoint")]
    assert written == list(range(checkpoint_every, steps, checkpoint_every))
    # A trained policy must not be handed on while an earlier step still plays: it is one object.
    order = [tuple(node.name.split(".")[-2:]) for node in graph.nodes]
    kinds = ("rollout", "validate", "aggregate", "train")
    assert order == [(f"step_{step:03d}", kind) for step in range(steps) for kind in kinds]


@pytest.mark.parametrize("earned", [{"schedule": {"kind": "earned"}}, {"truth": {"kind": "brier"}}])
def test_rewards_that_depend_on_earlier_steps_read_the_metrics_of_the_last_one(earned):
    """Metrics lie on the disk: a resumed run has the same trust."""
    graph = coevolve(section("coevolve", steps=3), section("aggregate", **earned))
    read = {node.name: [name for name in node.inputs if name.endswith("metrics")] for node in graph.nodes}
    names = [step.namespace for step in unroll(section("coevolve", steps=3), section("aggregate", **earned).schedule)]
    assert [read[f"{name}.aggregate"] for name in names] == [[], [f"{names[0]}.metrics"], [f"{names[1]}.metrics"]]


@pytest.mark.parametrize("schedule", [Trapezoid(activation=0.25, full=0.5, annealing=0.75), Constant(value=1.0), Off()])
def test_phases_begin_where_the_schedule_says(schedule):
    phases = [step.namespace.split(".")[0] for step in unroll(section("coevolve", steps=80), schedule)]
    assert phases == sorted(phases)
    borders = [0, *(80 * border for border in schedule.borders())]
    assert [phases.index(phase) for phase in sorted(set(phases))] == borders


def test_numbers_of_steps_sort_as_text():
    names = [step.namespace.rpartition("_")[2] for step in unroll(section("coevolve", steps=1500), Off())]
    assert names == sorted(names)
    assert names[-1] == "1499"
