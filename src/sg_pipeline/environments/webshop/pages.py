"""The pages of the shop as text and as what can be clicked.

The original renders HTML templates and strips the tags again: the text of a page is its text nodes joined by " [SEP] ",
what can be clicked is its buttons, then its product links, then its option values, each name once. Both are made from
the product directly; the effect of an HTML parser on white space is kept (`shown`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sg_pipeline.environments.webshop.products import Product
from sg_pipeline.environments.webshop.reward import Reward

SEPARATOR = " [SEP] "
PER_PAGE = 10
RATING = "N.A."
"""Reviews and ratings are not in the data; the page "Reviews" is empty."""

BACK, NEXT, PREVIOUS, BUY = "back to search", "next >", "< prev", "buy now"
SUB_PAGES = ("description", "features", "reviews")

_HTML_SPACE = " \t\n\f\r"
_JSON_IN_HTML = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "'": "\\u0027"})


@dataclass(frozen=True, slots=True)
class Page:
    """One page.

    Attributes:
        kind: "search", "results", "item", one of `SUB_PAGES`, or "done".
        instruction: of the goal; None: the page does not repeat it.
        segments: the other texts, in order.
        buttons: clickable names of the buttons.
        products: clickable -> product, of the results.
        options: clickable -> name of its option, of an item; a value that two options share belongs to the last one.
    """

    kind: str
    instruction: str | None
    segments: Sequence[str]
    buttons: tuple[str, ...] = ()
    products: Mapping[str, Product] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def clickables(self) -> list[str]:
        """What a click may name, each once, in the original's order."""
        return list(dict.fromkeys((*self.buttons, *self.products, *self.options)))

    def text(self, with_instruction: bool = True) -> str:
        """Return what the agent reads."""
        segments = list(self.segments)
        if with_instruction and self.instruction is not None:
            place = 1 if self.kind == "search" else 0  # behind the title
            segments[place:place] = ["Instruction:", *shown(self.instruction)]
        return SEPARATOR.join(segments)


def shown(*texts: str) -> tuple[str, ...]:
    """Return the segments of some text nodes, each stripped.

    An empty text is no node; white space alone is left out if it has a line break, and otherwise an empty segment.
    """
    return tuple(text.strip() for text in texts if text and (text.strip(_HTML_SPACE) or "\n" not in text))


def search_page(instruction: str) -> Page:
    """Return the page on which an episode begins."""
    return Page("search", instruction, ("WebShop", "Search"), ("search",))


def results_page(instruction: str, products: Sequence[Product], number: int, total: int) -> Page:
    """Return page `number`, from 1, of `total` search results; `products` are those on it, perhaps none."""
    back = ("< Prev",) if number > 1 else ()
    segments = ["Back to Search", f"Page {number} (Total results: {total})", *back, "Next >"]
    for product in products:
        segments += shown(product.asin, product.title, product.price_tag)
    buttons = (BACK, *(name.lower() for name in back), NEXT)
    return Page("results", instruction, segments, buttons, {product.asin.lower(): product for product in products})


def item_page(instruction: str, product: Product) -> Page:
    """Return a product's page; which options are selected does not show."""
    segments = ["Back to Search", "< Prev"]
    for name, values in product.options.items():
        segments += shown(name, *values)
    segments += shown(product.title, f"Price: {product.price_tag}", f"Rating: {RATING}")
    segments += ["Description", "Features", "Reviews", "Buy Now"]
    options = {value: name for name, values in product.options.items() for value in values}
    return Page("item", instruction, segments, (BACK, PREVIOUS, *SUB_PAGES, BUY), options=options)


def sub_page(instruction: str, product: Product, name: str) -> Page:
    """Return one of `SUB_PAGES` of a product."""
    texts: tuple[str, ...] = ()
    if name == "description":
        texts = shown(product.description)
    elif name == "features":
        texts = shown(*(f" {bullet}" for bullet in product.bullets))
    return Page(name, instruction, ("Back to Search", "< Prev", *texts), (BACK, PREVIOUS))


def done_page(product: Product, selected: Mapping[str, str], reward: Reward) -> Page:
    """Return the page after a purchase: a form that the original leaves unfilled but for asin, options and score."""
    options = json.dumps(dict(selected), sort_keys=True).translate(_JSON_IN_HTML)
    segments = (
        "Thank you for shopping with us!",
        *("Your code:", "None", "(Paste it in your MTurk interface.)"),
        *("Purchased", "asin", product.asin, "options", options, "attrs", "None", "category", "None"),
        *("query", "None", "product category", "None", "Target", "asin", "options", "attrs", "price upper"),
        # The original's own spelling.
        *("instuction text", "category", "product category", "query", "Goal", "None", "Reward"),
        *("Your score (min 0.0, max 1.0)", str(reward.total), "Reward Details", "None"),
    )
    return Page("done", None, segments)
