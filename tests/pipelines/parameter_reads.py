"""Which parameters the nodes of a run look at."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from kedro.pipeline.node import Node
from pydantic import BaseModel

from sg_pipeline.config.environment import EnvironmentConfig
from sg_pipeline.config.evaluation import EvaluationConfig
from sg_pipeline.config.rollout import RolloutConfig

SECTIONS = {"rollout": RolloutConfig, "evaluate": EvaluationConfig, "environment": EnvironmentConfig}


@contextmanager
def parameter_reads() -> Iterator[dict[tuple[str, str], set[str]]]:
    """Yield (room of a node, section) -> the parameters that such nodes have read, filled while runs are made."""
    found: dict[tuple[str, str], set[str]] = {}
    rooms: list[str] = []
    run = Node.run

    def noting(node: Node, *given: Any) -> Any:
        rooms.append(node.func.__module__.rpartition(".")[2])
        try:
            return run(node, *given)
        finally:
            rooms.pop()

    def spy(section: str, config: type[BaseModel]) -> Any:
        def read(self: BaseModel, name: str) -> Any:
            if rooms and name in config.model_fields:
                found.setdefault((rooms[-1], section), set()).add(name)
            return BaseModel.__getattribute__(self, name)

        return read

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Node, "run", noting)
        for section, config in SECTIONS.items():
            patched.setattr(config, "__getattribute__", spy(section, config))
        yield found
