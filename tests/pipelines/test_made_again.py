"""What is deleted when a pipeline, or a part of one, is started again without --only-missing-outputs."""

from typing import Any

import pytest

from sg_pipeline.runs.lineage import parameters_read
from sg_pipeline.runs.stale import earlier_outputs

FIRST, LAST = "phase_1_warmup.step_000", "phase_4_annealing.step_079"
ELSEWHERE = {"prompting.table", "distilled_guide", "step.single.trained_policy"}


class Durable:
    """A dataset that exists."""

    def delete(self) -> None:
        raise AssertionError("nothing is deleted yet")


class FullCatalog:
    """A catalog in which every dataset exists on disk."""

    def get(self, name: str) -> Durable:
        return Durable()

    def exists(self, name: str) -> bool:
        return True


@pytest.fixture(scope="module")
def graph(registered) -> frozenset[Any]:
    return frozenset(node for pipeline in registered.values() for node in pipeline.nodes)


@pytest.mark.parametrize(
    ("pipeline", "cut", "go", "stay"),
    [
        ("tasks", {}, set(), None),
        ("base_model", {}, set(), None),
        (
            "coevolve", {},
            {f"{FIRST}.trajectories", "final_policy", "summary", "page", "model_card", "evaluate.base.evaluation",
             "validation.after_080", "cross_checkpoint.table", "publication"},
            {"panel", "base_policy", "validation_panel", *ELSEWHERE},
        ),
        (
            "validation", {},
            {"final_policy", "summary", "evaluate.final.evaluation", "validation.after_080", "publication"},
            {"evaluate.base.evaluation", *ELSEWHERE},
        ),
        ("evaluate", {}, {"evaluate.final.evaluation", "summary", "report", "model_card"},
         {"final_policy", f"{LAST}.metrics", "validation.after_080", "cross_checkpoint.table", *ELSEWHERE}),
        ("report", {}, {"summary", "report", "page", "learning_curve", "model_card"},
         {"evaluate.final.evaluation", "final_policy", "publication"}),
        ("prompting", {}, {"prompting.table", "prompting.react.trial_1"},
         {"final_policy", "summary", "step.single.rewards"}),
        ("distill", {}, {"distilled_guide", "distillation"}, {"final_policy", "prompting.table"}),
        ("cross_checkpoint", {}, {"cross_checkpoint.table"}, {"final_policy", "summary", "validation.after_080"}),
        ("rollout", {}, {"step.single.trajectories", "step.single.rewards", "step.single.trained_policy"},
         {"final_policy"}),
        (
            "coevolve", {"from_nodes": ["phase_2_activation.step_040.rollout"]},
            {"phase_2_activation.step_040.trajectories", "phase_2_activation.step_049.checkpoint", "final_policy",
             "summary", "validation.after_080", "validation.after_050"},
            {"phase_1_warmup.step_039.checkpoint", "phase_1_warmup.step_039.metrics", "validation.after_040",
             "evaluate.base.evaluation"},
        ),
        ("coevolve", {"to_nodes": [f"{FIRST}.train"]}, {f"{FIRST}.trajectories", "final_policy"}, {"base_policy"}),
        # What was cut out of the middle is needed, though it is made from what is made again.
        ("coevolve", {"node_names": ["evaluate.final.play_with_guidance", "write_page"]},
         {"evaluate.final.episodes_with_guidance", "page"}, {"summary", "learning_curve"}),
    ],
)  # fmt: skip
def test_earlier_outputs_are_those_of_the_start_and_what_is_made_from_them(
    registered, graph, pipeline, cut, go, stay
) -> None:
    found = earlier_outputs(registered[pipeline].filter(**cut), graph, FullCatalog())
    every = {name for node in graph for name in node.outputs}
    assert go | (stay or set()) <= every
    assert go <= set(found)
    assert not (every if stay is None else stay) & set(found)
    # What is made last goes first: nothing is ever left of which the origin is gone.
    makers = {name: node for node in graph for name in node.outputs}
    place = {name: number for number, name in enumerate(found)}
    assert all(place[name] < place.get(origin, len(found)) for name in found for origin in makers[name].inputs)


def test_a_start_reads_what_its_nodes_read_and_what_that_was_made_with(registered, graph) -> None:
    def read(name: str) -> set[str]:
        return parameters_read(registered[name].nodes, graph)

    training = {"run", "environment", "tasks", "base_model", "rollout", "sampling", "validate", "aggregate", "train"}
    assert training <= read("coevolve") == read("report") == read("publish") - {"publish"} | {"evaluate"}
    assert read("evaluate") == read("coevolve")
    assert "evaluate" not in read("validation")
    assert read("tasks") == {"environment.name", "tasks"}
    assert not {"rollout", "train", "aggregate", "coevolve", "evaluate"} & read("prompting")
    assert {"rollout.max_turns", "evaluate.temperature", "prompting", "base_model", "sampling"} <= read("prompting")
    assert not {"environment", "rollout", "train"} & read("distill")
