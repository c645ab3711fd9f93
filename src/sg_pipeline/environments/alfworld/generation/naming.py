"""How the engine names and orders things, so that a `Scene` can say it in advance.

alfworld's Demangler sorts the PDDL ids and gives the *highest* number of a kind to the first id; every listing
("you see a mug 2, and a mug 1") is sorted by id as well. Ids made here count downwards, so the thing
shown as "mug 2" has an id that sorts before that of "mug 1".
"""

# A basin's id must read Sink_bar_<anything>_bar_SinkBasin: the Demangler joins "sink" and "basin" to its name.
_BASINS = {"SinkBasin": "Sink", "BathtubBasin": "Bathtub"}
_HIGHEST = 99


def shown_name(kind: str, number: int) -> str:
    """Return what the game calls the n-th thing of a kind: "sinkbasin 1"."""
    return f"{kind.lower()} {number}"


def pddl_id(kind: str, name: str) -> str:
    """Return the PDDL id of the thing that is shown as `name`: "Mug_bar_98" for "mug 1"."""
    number = int(name.rsplit(" ", 1)[1])
    if not 1 <= number <= _HIGHEST:
        raise ValueError(f"{name!r}: numbers run from 1 to {_HIGHEST}")
    middle = f"_bar_{_HIGHEST - number:02d}"
    if kind in _BASINS:
        return f"{_BASINS[kind]}{middle}_bar_{kind}"
    return f"{kind}{middle}"


def engine_order(kind: str, name: str) -> str:
    """Return the key by which the engine lists things: its lower-cased id."""
    return pddl_id(kind, name).lower()
