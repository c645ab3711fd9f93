"""The colours that the original's reward knows: of a value that holds one, only the colour is compared."""

_COLOURS = """
    alabaster apricot aqua ash asphalt azure banana beige black blue blush bordeaux bronze brown burgundy camel camo
    caramel champagne charcoal cheetah chestnut chocolate christmas coffee cognac copper coral cranberry cream crystal
    dark denim eggplant elephant espresso fuchsia gold granite grape graphite grass gray green grey heather indigo
    ivory ivy khaki lavender lemon leopard light lilac lime magenta maroon mauve merlot midnight mint mocha multicolor
    mushroom mustard natural navy nude olive orange peach pewter pink plum purple rainbow red rose royal rust sand
    sapphire seashell silver skull slate steel stone stonewash sunflower tan taupe teal tiger turquoise violet walnut
    wheat white wine yellow
"""
COLOURS = tuple(_COLOURS.split())
"""In the order in which they are looked for."""


def normalise_colour(value: str | tuple[str, str]) -> str | tuple[str, str]:
    """Return the first colour that is in `value`, else `value`.

    In a text a colour is found anywhere ("ash" in "fashion"); in a pair of name and value only if it is one of the two.
    That is how the original treats synthetic goals, whose options it hands over as pairs, so that "black137" in a goal
    is not met by "black137" on the page; figures are comparable only with the same fault.
    """
    return next((colour for colour in COLOURS if colour in value), value)
