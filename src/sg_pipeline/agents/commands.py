"""Commands in a system prompt: a slot for the forms that the game has, and a look at what a prompt spells out itself.

The words of commands belong to the game (ALFWorld's data version 2.1.1 says "put X in/on Y" where 2.1.2 says "move X to
Y"), so prompts take them from `StepResult.forms`, game by game.
"""

import logging
import re
from functools import cache

logger = logging.getLogger(__name__)

FORMS = "{commands}"
"""The slot of a system prompt that the forms of the game's commands take."""

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
    """Warn, once, where a system prompt spells out a command or a form that the game does not have.

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
    """Return what a line lists as forms, or quotes as one; a single one in running text may be prose (an aside)."""
    parts = [part.strip() for part in _BETWEEN.split(_BULLET.sub("", line)) if part.strip()]
    listed = [part for part in parts if _FORM.fullmatch(part)]
    quoted = [text for text in _QUOTED.findall(line) if _FORM.fullmatch(text)]
    return [*(listed if len(listed) > 1 or listed == parts else []), *quoted]
