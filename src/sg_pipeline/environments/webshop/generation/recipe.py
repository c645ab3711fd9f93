"""What a generated catalogue is drawn from: parameters, read by the configuration too."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from sg_pipeline.environments.webshop.generation.words import MAX_PRODUCTS

Rival = Literal["dearer", "other attribute", "other options"]


class CatalogueRecipe(BaseModel):
    """What a catalogue is drawn from.

    Attributes:
        products: how many.
        seed: decides everything else.
        rivals: which rivals each product has.
        values: how many values an option of a product has.
        hidden: how often a goal asks for the attribute that the title does not tell.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    products: int = Field(3000, ge=1, le=MAX_PRODUCTS)
    seed: int = Field(0, ge=0)
    rivals: tuple[Rival, ...] = ("dearer", "other attribute", "other options")
    values: int = Field(3, ge=2, le=4)
    hidden: float = Field(0.5, ge=0, le=1)
