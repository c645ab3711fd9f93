"""ALFWorld's text games: the unmodified engine (stock or fast), official data, generated data, a scripted expert."""

import os
import tempfile


def _import_alfworld() -> None:
    """Import alfworld without its side effects: it makes the folder `$ALFWORLD_DATA` and sets the variable itself.

    The configuration's `tasks.data` depends on whether the user has set it.
    """
    users = os.environ.get("ALFWORLD_DATA")
    os.environ["ALFWORLD_DATA"] = tempfile.gettempdir()
    import alfworld.info  # noqa: F401

    del os.environ["ALFWORLD_DATA"]
    if users is not None:
        os.environ["ALFWORLD_DATA"] = users


_import_alfworld()
