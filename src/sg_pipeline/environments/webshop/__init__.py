"""WebShop's text mode: search, pages, reward and goals as the original's, official data, generated catalogues."""

from collections.abc import Iterator
from contextlib import contextmanager

from sg_pipeline.errors import ConfigurationError


@contextmanager
def extra() -> Iterator[None]:
    """Report a package that cannot be imported as one of the extra `webshop`."""
    try:
        yield
    except ImportError as error:
        raise ConfigurationError(
            f"WebShop needs {error.name}, which is not installed: pip install -c constraints.txt -e '.[webshop]'"
        ) from error
