"""Prompt texts: YAML files beside this one, or a user's own by path."""

from __future__ import annotations

from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from string import Formatter

from sg_pipeline.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Prompts:
    """The words around an episode.

    Attributes:
        name: for reports.
        guided: system prompt where the agent writes guidance before each action.
        plain: system prompt where it writes actions only.
        observation: user message of a turn, with the slot `{observation}`.
        commands: appended to it to show admissible commands, with the slot `{commands}`; empty: cannot show them.
    """

    name: str
    guided: str
    plain: str
    observation: str = "{observation}"
    commands: str = ""

    def user_message(self, observation: str, commands: tuple[str, ...] | None = None) -> str:
        """Return the user message that shows `observation`, and the admissible `commands` where they are given."""
        text = self.observation.format(observation=observation.strip())
        if commands is not None and self.commands:
            text += self.commands.format(commands=", ".join(commands))
        return text


def load_prompts(name_or_path: str) -> Prompts:
    """Return the prompt set called `name_or_path` ("self_guide", "tiny") or read it from that YAML file.

    Raises:
        ConfigurationError: no such set or file, not YAML, an unknown or missing field, a slot that is not known.
    """
    import yaml

    folder = resources.files(__name__)
    shipped = sorted(entry.name.removesuffix(".yml") for entry in folder.iterdir() if entry.name.endswith(".yml"))
    try:
        if name_or_path in shipped:
            text = (folder / f"{name_or_path}.yml").read_text(encoding="utf-8")
        else:
            text = Path(name_or_path).read_text(encoding="utf-8")
        content = yaml.safe_load(text)
    except OSError as error:
        raise ConfigurationError(
            f"prompts '{name_or_path}' is neither one of the shipped sets ({', '.join(shipped)}) "
            f"nor a readable YAML file ({error.strerror or error})."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigurationError(f"prompts file '{name_or_path}' is not YAML: {reason}.") from error
    return _checked(name_or_path, content)


def _checked(name: str, content: object) -> Prompts:
    known = {field.name for field in fields(Prompts)} - {"name"}
    if not isinstance(content, dict):
        raise ConfigurationError(f"prompts '{name}' must be a mapping with the fields {sorted(known)}.")
    for field, value in content.items():
        if field not in known:
            raise ConfigurationError(f"prompts '{name}' has an unknown field '{field}'; it may have {sorted(known)}.")
        if not isinstance(value, str):
            raise ConfigurationError(f"prompts '{name}': field '{field}' must be text, found {type(value).__name__}.")
    for field in ("guided", "plain"):
        if field not in content:
            raise ConfigurationError(f"prompts '{name}' lacks the field '{field}', the system prompt of that mode.")
    for field, slot in (("observation", "observation"), ("commands", "commands")):
        value = content.get(field)
        if not value:
            continue
        try:
            slots = [found for _, found, _, _ in Formatter().parse(value) if found is not None]
        except ValueError as error:
            raise ConfigurationError(f"prompts '{name}': field '{field}' has unbalanced braces ({error}).") from error
        if slots != [slot]:
            raise ConfigurationError(
                f"prompts '{name}': field '{field}' must hold the slot {{{slot}}} once and no other, found {slots}."
            )
    stripped = {field: value.strip() if field in ("guided", "plain") else value for field, value in content.items()}
    return Prompts(name=name, **stripped)
