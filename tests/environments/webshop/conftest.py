from pathlib import Path

import pytest
from webshop_shops import write_small_shop

from sg_pipeline.environments.webshop.catalogue import Catalogue, open_catalogue


@pytest.fixture(scope="session")
def shop_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The official files of a small generated shop; read only."""
    return write_small_shop(tmp_path_factory.mktemp("webshop"))


@pytest.fixture(scope="session")
def shop(shop_folder: Path) -> Catalogue:
    return open_catalogue(shop_folder, None)
