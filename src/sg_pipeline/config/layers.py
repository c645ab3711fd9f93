"""Layers of conf/ that are not Kedro environments: a file per method, and a file per benchmark.

A Kedro environment may also have files for benchmarks, in a folder of the same name. A file contains parameters by
section, like the `parameters_*.yml` files.
"""

import difflib
from pathlib import Path
from typing import Any

from sg_pipeline.errors import ConfigurationError

METHODS, ENVIRONMENTS = "methods", "environments"
"""Folders of conf/."""

TITLE = "title"
"""Entry of a method's file that is not a parameter: its name in tables and figures."""


def method_parameters(conf: Path, name: str) -> dict[str, Any]:
    """Return the parameters of the method `name`.

    Raises:
        ConfigurationError: the method does not exist, or its file does not contain parameters by section.
    """
    content = _read_method(conf, name)
    return {section: values for section, values in content.items() if section != TITLE}


def method_title(conf: Path, name: str) -> str:
    """Return the title of the method `name`. Errors as `method_parameters`."""
    return str(_read_method(conf, name).get(TITLE) or name)


def environment_file(folder: Path, benchmark: str) -> Path:
    """Return the path of a benchmark's file, which may not exist; `folder` is conf/ or one of its environments."""
    return folder / ENVIRONMENTS / f"{benchmark}.yml"


def environment_parameters(path: Path) -> dict[str, Any]:
    """Return the parameters in the file of a benchmark.

    Raises:
        ConfigurationError: it does not contain parameters by section, or sets environment.name.
    """
    content = _read(path, "sections of parameters such as `tasks: {panel: default}`")
    if "name" in content.get("environment", {}):
        raise ConfigurationError(
            f"{path} sets environment.name, but is selected by it: set it in conf/base, or by --params "
            f"environment.name={path.stem}"
        )
    return content


def _read_method(conf: Path, name: str) -> dict[str, Any]:
    path = conf / METHODS / f"{name}.yml"
    known = sorted(file.stem for file in (conf / METHODS).glob("*.yml"))
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
        hint = f"did you mean {nearest[0]}? There are {', '.join(known)}" if nearest else f"{path.parent} holds none"
        raise ConfigurationError(f"parameter run.method: there is no method {name!r}; {hint}")
    return _read(path, "a title and sections of parameters such as `rollout: {guidance: false}`")


def _read(path: Path, expected: str) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    sections = {key: value for key, value in content.items() if key != TITLE} if isinstance(content, dict) else {}
    wrong = [key for key, value in sections.items() if not isinstance(value, dict)]
    if not isinstance(content, dict) or wrong:
        raise ConfigurationError(
            f"{path} must hold {expected}, found {f'no values under {wrong[0]!r}' if wrong else type(content).__name__}"
        )
    return content
