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

SECTIONS = {RolloutConfig: "rollout", EvaluationConfig: "evaluate", EnvironmentConfig: "environment"}


@contextmanager
def parameter_reads() -> Iterator[dict[tuple[str, str], set[str]]]:
    """Yield (module of a node, section) -> the parameters that such nodes have read, filled while runs are made."""
    found: dict[tuple[str, str], set[str]] = {}
    modules: list[str] = [""]
    run = Node.run

    def noting(node: Node, *given: Any) -> Any:
        modules[0] = node.func.__module__.rpartition(".")[2]
        try:
            return run(node, *given)
        finally:
            modules[0] = ""

    def read(self: BaseModel, name: str) -> Any:
        config = type(self)
        if modules[0] and name in config.__pydantic_fields__:
            found.setdefault((modules[0], SECTIONS[config]), set()).add(name)
        return BaseModel.__getattribute__(self, name)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Node, "run", noting)
        for config in SECTIONS:
            patched.setattr(config, "__getattribute__", read)
        yield found
