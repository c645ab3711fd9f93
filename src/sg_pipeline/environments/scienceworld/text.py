"""What goes into the simulator and what comes out, as text."""

import re
from collections.abc import Sequence

MAX_ACTION_CHARACTERS = 500
"""Longer than any command that the simulator knows; it would look for one in every character all the same."""

NOT_UNDERSTOOD = "No known action matches that input."
"""The simulator's answer to what it cannot read."""

CANCELLED = re.compile(r"ERROR: (?:Unknown response|Value out of range) \(.*\)\.\s+Action cancelled\.", re.DOTALL)
"""Its answer to a reply that is none of the numbers it had asked for."""

QUESTION = "Ambiguous request:"
"""How it asks for a number; the next action answers, and an empty one cancels."""

_MOVED = re.compile(r"You (?:move|teleport) to the [^.\n]+\.")
# "reset" begins nothing else, "help" and "objects" are of the published wrapper, which answers them itself.
_HIDDEN = re.compile(r"reset\b.*", re.IGNORECASE)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\s]+")


def clean_action(action: str) -> str | None:
    """Return the action as the simulator shall read it; None where it shall not see it.

    Control characters count as spaces. "reset task" would give points that were earned back for another try, and a text
    of more than `MAX_ACTION_CHARACTERS` is no command.
    """
    action = _UNPRINTABLE.sub(" ", action.encode("utf-8", "replace").decode("utf-8")).strip()
    if len(action) > MAX_ACTION_CHARACTERS or _HIDDEN.fullmatch(action):
        return None
    return action


def understood(answer: str) -> bool:
    """Return whether the simulator could read the action that it answers so."""
    return answer != NOT_UNDERSTOOD and not CANCELLED.fullmatch(answer)


def has_moved(answer: str) -> bool:
    """Return whether the answer tells of a new room."""
    return _MOVED.fullmatch(answer.strip()) is not None


def tidy(answer: str) -> str:
    """Return the simulator's answer without tabs and without spaces at the ends of lines."""
    return "\n".join(line.strip() for line in answer.strip().splitlines())


def shown_actions(templates: Sequence[str]) -> list[str]:
    """Return the simulator's action templates without those that are withheld from it."""
    return [template for template in templates if not _HIDDEN.fullmatch(template)]


def list_actions(templates: Sequence[str]) -> str:
    """Return the sentence that names what can be done."""
    return f"Actions (OBJ is a thing): {', '.join(templates)}."


def list_objects(names: Sequence[str]) -> str:
    """Return the sentence that names what can be seen."""
    return f"Things here: {', '.join(names) or 'none'}."
