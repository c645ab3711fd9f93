"""The rollouts' tests play the same small game as the pool's."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "environments"))
