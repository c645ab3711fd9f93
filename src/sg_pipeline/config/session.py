"""The parameters in force in this process: those that the session's context has checked (see `hooks/context.py`)."""

from collections.abc import Callable

from sg_pipeline.config.loader import embedded_loader
from sg_pipeline.config.tree import Parameters, check_parameters

OfMethod = Callable[[str], Parameters]
"""A method's name -> the parameters in force with that method's over them."""

_parameters: Parameters | None = None
_of_method: OfMethod | None = None


def use(parameters: Parameters | None, of_method: OfMethod | None) -> None:
    """Set them; None: those of conf/base."""
    global _parameters, _of_method
    _parameters, _of_method = parameters, of_method


def parameters() -> Parameters:
    """Return the parameters in force: the session's, or those of conf/base without a session."""
    return _parameters or check_parameters(embedded_loader()["parameters"])


def of_method(name: str) -> Parameters:
    """Return the parameters in force with those of the method `name` over them."""
    if _of_method is not None:
        return _of_method(name)
    loader = embedded_loader()
    return check_parameters(loader.with_method(loader["parameters"], name))
