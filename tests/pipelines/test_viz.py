"""What kedro viz opens on. It switches hooks off, so what it knows of an environment it knows from the context."""

import json
import subprocess
import sys

import pytest
from project_copy import REPOSITORY

from sg_pipeline.config.loader import section
from sg_pipeline.rewards.trust import Trapezoid
from sg_pipeline.runs.steps import unroll

pytest.importorskip("kedro_viz", reason="kedro-viz is an extra: pip install -e '.[viz]'")

# In a separate process: kedro-viz keeps a project's graph for the life of the process.
SERVE = """
from pathlib import Path
from kedro_viz.api.rest.responses.pipelines import get_pipeline_response
from kedro_viz.server import load_and_populate_data
load_and_populate_data(Path.cwd(), env="smoke", package_name="sg_pipeline", extra_params={"coevolve": {"steps": 8}})
print("graph:" + get_pipeline_response().model_dump_json())
"""


def test_it_opens_on_phases_a_phase_on_steps_and_a_step_on_its_nodes():
    done = subprocess.run(
        [sys.executable, "-c", SERVE], cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    graph = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("graph:"))[len("graph:") :])
    names = {node["id"]: node["name"] for node in graph["nodes"]}
    boxes = graph["modular_pipelines"].items()
    opened = {box: {names[child["id"]] for child in tree["children"]} for box, tree in boxes}
    steps = unroll(section("coevolve", steps=8), Trapezoid())
    phases = {step.namespace.partition(".")[0] for step in steps}
    assert len(phases) == 4
    assert {name for name in opened["__root__"] if name in opened} == {*phases, "evaluate"}
    for phase in phases:
        inside = {step.namespace for step in steps if step.namespace.startswith(f"{phase}.")}
        assert {name for name in opened[phase] if name in opened} == inside
    for step in steps:
        nodes = {name for name in opened[step.namespace] if "." not in name}
        assert nodes == {"rollout", "validate", "aggregate", "train"}
    # Eighty datasets in a row would be all that one sees of the first view.
    assert not [name for name in opened["__root__"] if name.endswith((".metrics", ".rewards", ".logprob_gaps"))]
