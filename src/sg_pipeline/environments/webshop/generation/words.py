"""What a generated shop sells: a closed list of words, so that a word-level policy can read every page.

A kind of thing belongs to one of the five official categories; attributes and options belong to the category. All
words are lower case here; titles capitalise them.
"""

from dataclasses import dataclass


def _listed(words: str) -> tuple[str, ...]:
    return tuple(words.split(", "))


COLOURS = _listed("beige, black, blue, brown, gray, green, navy, pink, purple, red, white, yellow")
SIZES = _listed("small, medium, large, tall")


@dataclass(frozen=True, slots=True)
class Department:
    """An official category.

    Attributes:
        path: first part of `product_category`.
        groups: second part -> the kinds of things in it; a kind is query, noun of the title and last part of the path.
        attributes: what its products may be; two words each.
        options: name -> values.
    """

    name: str
    path: str
    groups: dict[str, tuple[str, ...]]
    attributes: tuple[str, ...]
    options: dict[str, tuple[str, ...]]


DEPARTMENTS = (
    Department(
        "fashion",
        "Clothing, Shoes & Jewelry",
        {
            "Shoes": _listed("running shoes, ankle boots, sandals"),
            "Clothing": _listed("shirts, sweaters, rain jackets, shorts"),
            "Accessories": _listed("scarves, belts"),
        },
        _listed(
            "machine washable, slim fit, loose fit, long sleeve, short sleeve, rubber sole, memory foam, hand wash, "
            "high waist, quick drying, water resistant, arch support"
        ),
        {"color": COLOURS, "size": SIZES},
    ),
    Department(
        "garden",
        "Home & Kitchen",
        {
            "Furniture": _listed("coffee tables, bar stools, book shelves"),
            "Bedding": _listed("blankets, pillows"),
            "Lighting": _listed("table lamps, wall lights"),
            "Storage": _listed("laundry baskets, shoe racks"),
        },
        _listed(
            "solid wood, easy assemble, heavy duty, space saving, super soft, eco friendly, stainless steel, living "
            "room, easy clean, non slip, double sided, wall mounted"
        ),
        {"color": COLOURS, "size": _listed("small, medium, large, wide")},
    ),
    Department(
        "electronics",
        "Electronics",
        {
            "Audio": _listed("headphones, speakers"),
            "Power": _listed("phone chargers, power banks, batteries"),
            "Video": _listed("projectors, cameras"),
            "Cases": _listed("phone cases, laptop bags"),
        },
        _listed(
            "fast charging, wireless charging, noise cancelling, high definition, easy install, hands free, carrying "
            "case, plug play, long lasting, high speed, dust proof, shock proof"
        ),
        {"color": COLOURS, "style": _listed("basic, plus, pro, max")},
    ),
    Department(
        "beauty",
        "Beauty & Personal Care",
        {
            "Hair Care": _listed("shampoos, hair masks, hair brushes"),
            "Skin Care": _listed("face creams, body lotions, lip balms"),
            "Makeup": _listed("eye shadows, makeup brushes, nail polishes"),
        },
        _listed(
            "cruelty free, sulfate free, paraben free, alcohol free, tea tree, natural ingredients, dry skin, "
            "dry hair, travel size, easy apply, anti aging, dermatologist tested"
        ),
        {
            "scent": _listed("citrus, coconut, lavender, rose, vanilla"),
            "size": _listed("mini, regular, double, family"),
        },
    ),
    Department(
        "grocery",
        "Grocery & Gourmet Food",
        {
            "Snacks": _listed("granola bars, crackers, mixed nuts, dried fruits"),
            "Drinks": _listed("green teas, coffees, protein shakes"),
            "Pantry": _listed("pasta sauces, cookies"),
        },
        _listed(
            "gluten free, sugar free, dairy free, nut free, low sodium, low carb, high protein, non gmo, plant based, "
            "artificial colors, individually wrapped, ready eat"
        ),
        {"flavor": _listed("berry, chocolate, honey, lemon, mint"), "size": _listed("single, twin, value, bulk")},
    ),
)

_BRANDS = """
    acorna bellmar calvio dorrin elstone fenwick gravel harlow isolde jasper kestrel lumen marlow nordby oakley pendle
    quillon rivet sable tamsin umbra vesper wyndham xander yarrow zephyr
"""
BRANDS = tuple(_BRANDS.split())
"""Made-up makers; the first word of a title, and the only one without information."""

KINDS = tuple(kind for department in DEPARTMENTS for kinds in department.groups.values() for kind in kinds)
"""What is sold; each is a query."""

ATTRIBUTES = tuple(dict.fromkeys(attribute for department in DEPARTMENTS for attribute in department.attributes))

_SIGNS = "BCDFGHJKLMNPQRSTVWXYZ23456789"
_KNOWN = 3

MAX_PRODUCTS = 2_000_000
"""There are ids for 938 products of one kind, first attribute and maker."""


def _code(number: int, length: int) -> str:
    """Return `length` characters for `number`, a step of a multiplicative generator: neighbours look different."""
    size = len(_SIGNS) ** length
    value = (number * 48_271 + 11) % size
    signs = []
    for _ in range(length):
        value, place = divmod(value, len(_SIGNS))
        signs.append(_SIGNS[place])
    return "".join(signs)


def asin(kind: str, attribute: str, brand: str, number: int) -> str:
    """Return the id, ten characters, of product number `number`, from 0, of those alike in the other three.

    Like article numbers of real shops it has a meaning: its first four characters are the kind, three the first
    attribute of the title, three the maker and the number. A policy of a million parameters does not learn to copy
    arbitrary ids: after 6 M tokens of demonstrations it still chose among them at random.
    """
    last = number * len(BRANDS) + BRANDS.index(brand)
    return f"B0{_code(KINDS.index(kind), 2)}{_code(ATTRIBUTES.index(attribute), 3)}{_code(last, 3)}"


def asin_pieces() -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return the first four, the next three and the last three characters of the common ids, in lower case."""
    return (
        tuple(f"b0{_code(number, 2).lower()}" for number in range(len(KINDS))),
        tuple(_code(number, 3).lower() for number in range(len(ATTRIBUTES))),
        tuple(_code(number, 3).lower() for number in range(_KNOWN * len(BRANDS))),
    )
