"""A product, made from an entry of the official files by the original's rules.

Source: `load_products` of the original's `web_agent_site/engine/engine.py`. `Product` holds what
pages, search and reward read, under the official names if they are clear.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sg_pipeline.errors import DataError
from sg_pipeline.randomness import derive_seed

DEFAULT_PRICE = 100.0
"""Of a product without one."""

NO_ATTRIBUTES = ("DUMMY_ATTR",)
"""The original's attributes of a product that is not in the attribute file."""

CATEGORY_MARK = "\u203a"
"""Between the parts of `product_category`, with a blank on either side."""


class Instruction(NamedTuple):
    """An instruction that a person wrote for this product, and the attributes and values of options that it wants."""

    text: str
    attributes: tuple[str, ...]
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Product:
    """One product.

    Attributes:
        asin: its id, ten letters and digits.
        bullets: the list of the page "Features".
        price_tag: as shown: "$12.5", or "$3.0 to $9.0"; it costs `price`.
        options: name -> values, both in lower case, in the order of the page.
        attributes: what is known of it; hidden from the agent.
        query: the search that it was found by when the data were gathered; hidden.
        category: one of five: beauty, electronics, fashion, garden, grocery.
        product_category: path of categories, `CATEGORY_MARK` between them; hidden.
        wish: instruction of the synthetic goals, without options and price; None: no synthetic goals.
        wish_attributes: what it asks for.
        instructions: those that people wrote.
    """

    asin: str
    title: str
    description: str
    bullets: tuple[str, ...]
    price_tag: str
    price: float
    options: dict[str, tuple[str, ...]]
    attributes: tuple[str, ...]
    query: str
    category: str
    product_category: str
    wish: str | None = None
    wish_attributes: tuple[str, ...] = ()
    instructions: tuple[Instruction, ...] = ()

    def document(self) -> str:
        """Return the text that the search index holds of it."""
        options = ", and ".join(f"{name}: {', '.join(values)}" for name, values in self.options.items())
        bullet = self.bullets[0] if self.bullets else ""
        return " ".join([self.title, self.description, bullet, options]).lower()

    def dump(self) -> bytes:
        """Return it as one line of JSON."""
        # Not `asdict`, whose copies would take half of the time for a million products.
        fields = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def parse(cls, line: bytes) -> "Product":
        """Return what `dump` wrote."""
        fields = json.loads(line)
        for name in ("bullets", "attributes", "wish_attributes"):
            fields[name] = tuple(fields[name])
        fields["options"] = {name: tuple(values) for name, values in fields["options"].items()}
        fields["instructions"] = tuple(
            Instruction(text, tuple(attributes), tuple(options)) for text, attributes, options in fields["instructions"]
        )
        return cls(**fields)


def read_product(
    entry: Mapping[str, Any], known: Mapping[str, Any] | None, instructions: Sequence[Mapping[str, Any]]
) -> Product:
    """Return the product of an entry of `items_shuffle.json`, and of those of the other files for the same asin.

    Args:
        entry: of the product file.
        known: of `items_ins_v2.json`, None: it has none.
        instructions: of `items_human_ins.json`.

    Raises:
        KeyError, TypeError, AttributeError: a field is missing or of another kind.
        DataError: the price cannot be read.
    """
    bullets, prices, known = entry["small_description"], _prices(entry), known or {}
    return Product(
        asin=entry["asin"],
        title=entry["name"],
        description=entry["full_description"],
        bullets=tuple(bullets) if isinstance(bullets, list) else (bullets,),
        price_tag=" to ".join(f"${price}" for price in prices),
        price=_price(entry["asin"], prices),
        options=_options(entry["customization_options"]),
        attributes=tuple(known.get("attributes", NO_ATTRIBUTES)),
        query=entry["query"].lower().strip(),
        category=entry["category"],
        product_category=entry["product_category"],
        wish=known.get("instruction"),
        wish_attributes=tuple(known.get("instruction_attributes") or ()),
        instructions=tuple(
            Instruction(one["instruction"], tuple(one["instruction_attributes"]), tuple(one["instruction_options"]))
            for one in instructions
        ),
    )


def _options(custom: Mapping[str, Sequence[Mapping[str, Any]] | None] | str | None) -> dict[str, tuple[str, ...]]:
    return {
        name.lower(): tuple(one["value"].strip().replace("/", " | ").lower() for one in contents)
        for name, contents in (custom.items() if isinstance(custom, Mapping) else ())
        if contents is not None
    }


def _prices(entry: Mapping[str, Any]) -> list[float]:
    """Return the lowest and highest price, or a single one."""
    text = entry.get("pricing")
    if not text:
        return [DEFAULT_PRICE]
    try:
        prices = [float(re.sub(r"[^\d.]", "", part)) for part in text.split("$")[1:]][:2]
    except ValueError:
        prices = []
    if not prices:
        raise DataError(
            f"WebShop's product {entry['asin']}: field 'pricing' is {text!r}; an amount such as '$12.50' was expected."
        )
    return prices


def _price(asin: str, prices: Sequence[float]) -> float:
    """Return one price out of a range, always the same for a product.

    The original draws it before it seeds its random numbers, so there it differs between processes.
    """
    low, high = prices[0], prices[-1]
    return low + (high - low) * derive_seed(0, "webshop price", asin, bits=53) / 2**53
