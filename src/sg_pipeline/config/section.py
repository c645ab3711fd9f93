"""What the sections of the parameters have in common."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict

NAME = "[A-Za-z0-9][A-Za-z0-9._-]*"
"""A folder's name."""


class Section(BaseModel):
    """Parameters: an unknown key is an error, and no value changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _folder(name: str) -> str:
    if not re.fullmatch(NAME, name):
        raise ValueError("a name may have letters, digits, '.', '_' and '-', and must begin with a letter or digit")
    return name


def _distinct(values: Any) -> Any:
    if twice := sorted({str(value) for value in values or () if values.count(value) > 1}):
        raise ValueError(f"{', '.join(twice)} is named twice")
    return values


FolderName = Annotated[str, AfterValidator(_folder)]
"""The name of a folder in every layer of the data."""

DISTINCT = AfterValidator(_distinct)
"""For a tuple: every value occurs once."""
