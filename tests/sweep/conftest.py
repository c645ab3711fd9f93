"""The tests of the sweep write their finished runs as those of the study do."""

import sys
from pathlib import Path

import pytest
from played_sweep import Bench

sys.path += [str(Path(__file__).parents[1] / name) for name in ("evaluation", "study")]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)
