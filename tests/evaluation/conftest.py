"""The prompting tests play a small game of the environments' tests."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "environments"))
