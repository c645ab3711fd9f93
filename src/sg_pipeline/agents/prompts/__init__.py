"""Prompt texts: YAML files in this folder, or a user's own by path.

A benchmark's own texts are in the folder of its name and take precedence over those here, which are about ALFWorld.

The words of commands belong to the game (ALFWorld's data version 2.1.1 says "put X in/on Y" where 2.1.2 says "move X to
Y"), so system prompts have a slot for them, which is filled from `StepResult.forms`, game by game.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from pathlib import Path
from string import Formatter

from sg_pipeline.errors import ConfigurationError

logger = logging.getLogger(__name__)

FORMS = "{commands}"
"""The slot of a system prompt that the forms of the game's commands take."""

_SLOTS = {"observation": "observation", "commands": "commands", "memory": "reflections", "reflect": "transcript"}
"""Field -> the slot that it must hold."""


@dataclass(frozen=True, slots=True)
class Prompts:
    """The words around an episode.

    A set without a thought serves both modes; a set with one belongs to a prompting method and may have only one mode.

    Attributes:
        name: for reports.
        guided: system prompt where the agent writes guidance before each action; may hold `FORMS`.
        plain: system prompt where it writes no guidance; likewise.
        observation: user message of a turn, with the slot `{observation}`.
        commands: appended to it to show admissible commands, with the slot `{commands}`; empty: cannot show them.
        thought: tag in which the agent thinks before it acts ("thought"); empty: it does not.
        memory: Reflexion's, precedes a later trial's first observation, with the slot `{reflections}`.
        reflector: Reflexion's, system prompt of the call that looks back at a failed trial.
        reflect: user message of that call, with the slot `{transcript}`.
    """

    name: str
    guided: str = ""
    plain: str = ""
    observation: str = "{observation}"
    commands: str = ""
    thought: str = ""
    memory: str = ""
    reflector: str = ""
    reflect: str = ""

    def user_message(self, observation: str, commands: tuple[str, ...] | None = None) -> str:
        """Return the user message that shows `observation`, and the admissible `commands` where they are given."""
        text = self.observation.format(observation=observation.strip())
        if commands is not None and self.commands:
            text += self.commands.format(commands=", ".join(commands))
        return text


def load_prompts(name_or_path: str, benchmark: str = "") -> Prompts:
    """Return the prompt set called `name_or_path` ("self_guide", "tiny") or read it from that YAML file.

    A file's field `base` names another set, from which it inherits the fields that it does not set.

    Args:
        name_or_path: of a set.
        benchmark: whose texts a shipped set should have, where the benchmark has its own.

    Raises:
        ConfigurationError: no such set or file, not YAML, an unknown or missing field, an unknown slot.
    """
    return _checked(name_or_path, _with_base(name_or_path, benchmark))


def _with_base(name_or_path: str, benchmark: str, above: tuple[str, ...] = ()) -> object:
    content = _read(name_or_path, benchmark)
    if not isinstance(content, dict) or "base" not in content:
        return content
    base, above = content.pop("base"), (*above, name_or_path)
    if not isinstance(base, str) or base in above:
        raise ConfigurationError(
            f"prompts '{name_or_path}': field 'base' must name another prompt set, found {base!r}."
        )
    below = _with_base(base, benchmark, above)
    return {**below, **content} if isinstance(below, dict) else below


def _read(name_or_path: str, benchmark: str) -> object:
    import yaml

    here = resources.files(__name__)
    own = here / benchmark
    folders = [here, own] if benchmark and own.is_dir() else [here]
    shipped = {
        entry.name.removesuffix(".yml"): entry
        for folder in folders
        for entry in folder.iterdir()
        if entry.name.endswith(".yml")
    }
    try:
        if name_or_path in shipped:
            text = shipped[name_or_path].read_text(encoding="utf-8")
        else:
            text = Path(name_or_path).read_text(encoding="utf-8")
        return yaml.safe_load(text)
    except OSError as error:
        raise ConfigurationError(
            f"prompts '{name_or_path}' is neither one of the shipped sets ({', '.join(sorted(shipped))}) "
            f"nor a readable YAML file ({error.strerror or error})."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigurationError(f"prompts file '{name_or_path}' is not YAML: {reason}.") from error


def _checked(name: str, content: object) -> Prompts:
    known = {field.name for field in fields(Prompts)} - {"name"}
    if not isinstance(content, dict):
        raise ConfigurationError(f"prompts '{name}' must be a mapping with the fields {sorted(known)}.")
    for field, value in content.items():
        if field not in known:
            raise ConfigurationError(f"prompts '{name}' has an unknown field '{field}'; it may have {sorted(known)}.")
        if not isinstance(value, str):
            raise ConfigurationError(f"prompts '{name}': field '{field}' must be text, found {type(value).__name__}.")
    missing = [field for field in ("guided", "plain") if field not in content]
    if missing and (not content.get("thought") or len(missing) == 2):
        raise ConfigurationError(f"prompts '{name}' lacks the field '{missing[0]}', the system prompt of that mode.")
    thought = content.get("thought", "")
    if thought and (not re.fullmatch("[a-z_]+", thought) or thought in ("guidance", "action")):
        raise ConfigurationError(
            f"prompts '{name}': field 'thought' must be a tag's name, small letters other than guidance and action, "
            f"found {thought!r}."
        )
    for field, slot in _SLOTS.items():
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
    if FORMS in content.get("reflector", ""):
        raise ConfigurationError(
            f"prompts '{name}': field 'reflector' cannot hold the slot {FORMS}, only 'guided' and 'plain' can: the "
            f"call after a trial reads no more than its transcript."
        )
    kept = ("observation", "commands")
    stripped = {field: value if field in kept else value.strip() for field, value in content.items()}
    return Prompts(name=name, **stripped)


# "(object)", "{obj}", "<obj>", "[words]", "X".
_SLOT = r"(?:\([^()\n]*\)|\{[^{}\n]*\}|<[a-z][^<>\n]*>|\[[^][\n]*\]|[A-Z]\b)"
# Words that end in a slot: "go to (receptacle)", "put {obj} in {recep}", "search[words]".
_FORM = re.compile(rf"[a-z]+(?: [a-z/]+)* ?{_SLOT}(?:(?: [a-z/]+)* {_SLOT})*")
_BULLET = re.compile(r"^\s*(?:[-*]|\d+[.)])\s")
_BETWEEN = re.compile(r"[|;,:]|\.(?!\S)")
_QUOTED = re.compile(r"[\"'`]([^\"'`]+)[\"'`]")
# Commands of examples: "> look", "Action: look", "<action>look</action>".
_EXAMPLE = re.compile(r"^\s*(?:>|[Aa]ct(?:ion)?\s*\d*:)\s*([a-z][^<\n]*)|<action>([a-z][^<\n]*)</action>", re.MULTILINE)


@cache
def warn_of_foreign_commands(name: str, system: str, forms: tuple[str, ...]) -> None:
    """Warn once if a system prompt spells out a command or a form that the game does not have.

    Args:
        name: of the prompt set.
        system: its system prompt.
        forms: of the game's commands.
    """
    accepted = [re.compile(re.sub(r"\\\(.*?\\\)|(?<=\\\[).*?(?=\\\])", ".+", re.escape(form))) for form in forms]
    spelled = [form for line in system.splitlines() for form in _forms_in(line)]
    spelled += [(found[1] or found[2]).strip() for found in _EXAMPLE.finditer(system)]
    foreign = [text for text in dict.fromkeys(spelled) if not any(pattern.fullmatch(text) for pattern in accepted)]
    if foreign:
        logger.warning(
            "prompts '%s' name %s, which fits none of the commands of a game that is played: %s (write %s where the "
            "prompt lists them)",
            name,
            " and ".join(map(repr, foreign)),
            " | ".join(forms),
            FORMS,
        )


def _forms_in(line: str) -> list[str]:
    """Return the forms that a line lists or quotes; a single one in running text may be prose (an aside)."""
    parts = [part.strip() for part in _BETWEEN.split(_BULLET.sub("", line)) if part.strip()]
    listed = [part for part in parts if _FORM.fullmatch(part)]
    quoted = [text for text in _QUOTED.findall(line) if _FORM.fullmatch(text)]
    return [*(listed if len(listed) > 1 or listed == parts else []), *quoted]
