"""The winner as a method: a file for conf/methods, and what stands behind `--params`."""

from collections.abc import Mapping
from typing import Any

from sg_pipeline.runs.child import as_text


def command(parameters: Mapping[str, Any], run: str) -> str:
    """Return the command that makes the run `run` with these parameters."""
    return f"kedro run --pipeline=coevolve --params {as_text({**parameters, 'run.name': run})}"


def method_file(found: Mapping[str, Any]) -> str:
    """Return a file of conf/methods with the winner's parameters; a file that says so where there is no winner.

    Args:
        found: of `results.sweep_results`.
    """
    import yaml

    winner, name = found["winner"], found["sweep"]["name"]
    if winner is None:
        return f"# The sweep {name} has no complete trial, so there is no best schedule yet.\n"
    tree: dict[str, Any] = {}
    for parameter, value in winner["parameters"].items():
        node, (*sections, leaf) = tree, parameter.split(".")
        for section in sections:
            node = node.setdefault(section, {})
        node[leaf] = value
    head = [
        f"# The winner of the sweep {name}: {winner['label']}, found with runs of {_steps(found)} steps.",
        *(f"# {line}" for line in _lines(found["verdict"])),
        f"# Copied to conf/methods/{name}.yml: kedro run --pipeline=coevolve --params run.method={name},run.seed=0",
        f"# The same without a file: {command(winner['parameters'], f'{name}-best')}",
    ]
    body = yaml.safe_dump({"title": f"{name}: {winner['label']}", **tree}, sort_keys=False, default_flow_style=None)
    return "\n".join(head) + "\n" + body


def _steps(found: Mapping[str, Any]) -> int:
    confirmation = found["confirmation"]
    return int(confirmation["steps"] if confirmation else found["sweep"]["steps"])


def _lines(text: str, width: int = 116) -> list[str]:
    import textwrap

    return textwrap.wrap(text, width)
