"""Lineage in the graph of all pipelines: which parameters outputs depend on, and what is made from them."""

from collections.abc import Collection, Iterable, Iterator
from graphlib import TopologicalSorter
from typing import Any

from sg_pipeline.runs.steps import BASE_POLICY, FINAL_POLICY

_PLACES = {"base_policy_folder": BASE_POLICY, "policies": FINAL_POLICY}
"""Datasets that are the folder of another dataset."""

READ_IN_PART: dict[tuple[str, str], tuple[str, ...]] = {
    ("tasks", "environment"): ("name",),
    ("tasks", "evaluate"): (),  # checks that its splits exist
    ("base_model", "environment"): ("name",),
    ("base_model", "rollout"): ("prompts", "date", "max_length", "guide"),
    ("validation", "evaluate"): (),  # checks its splits; `batch_rows` changes no result
    ("distill", "environment"): ("name",),
    ("distill", "rollout"): ("prompts", "date"),
    ("prompting", "rollout"): ("max_turns", "max_length", "max_observation_tokens", "date"),
    ("prompting", "evaluate"): ("splits", "temperature", "episodes_per_game", "games", "max_turns"),
}
"""Sections of which the nodes of a pipeline read only some parameters: (pipeline, section) -> those parameters."""


def parameters_read(nodes: Iterable[Any], graph: Collection[Any]) -> set[str]:
    """Return the sections ("train") and parameters ("rollout.max_turns") on which the outputs of `nodes` depend.

    Nodes that produce their inputs are included; `graph` are those of all pipelines.
    """
    makers = {name: node for node in graph for name in node.outputs}
    found: set[str] = set()
    waiting, seen = list(nodes), set(nodes)
    while waiting:
        node = waiting.pop()
        pipeline = node.func.__module__.rpartition(".")[2]
        for name in node.inputs:
            if name.startswith("params:"):
                section = name.removeprefix("params:")
                part = READ_IN_PART.get((pipeline, section))
                found |= {section} if part is None else {f"{section}.{parameter}" for parameter in part}
            maker = makers.get(_PLACES.get(name, name))
            if maker is not None and maker not in seen:
                seen.add(maker)
                waiting.append(maker)
    return found


def made_from(names: Collection[str], graph: Iterable[Any]) -> set[str]:
    """Return every dataset that is made from these datasets, directly or indirectly."""
    nodes = list(graph)
    found, before = set(names), -1
    while len(found) > before:
        before = len(found)
        for node in nodes:
            if any(_PLACES.get(name, name) in found for name in node.inputs):
                found.update(node.outputs)
    return found - set(names)


def in_order(graph: Iterable[Any]) -> Iterator[Any]:
    """Yield nodes in topological order; nodes of different pipelines may have equal names."""
    nodes = list(graph)
    makers = {name: node for node in nodes for name in node.outputs}
    needed = {node: {_PLACES.get(name, name) for name in node.inputs} & makers.keys() for node in nodes}
    yield from TopologicalSorter({node: {makers[n] for n in needed[node]} for node in nodes}).static_order()
