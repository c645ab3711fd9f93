"""The rollouts' tests play the same little game as the pool's."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "environments"))
