from pathlib import Path

import pytest
from played_sweep import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)
