"""The prompting tests play the pool's and ALFWorld's little games with a tokenizer of the agents' tests."""

import sys
from pathlib import Path

sys.path += [str(Path(__file__).parents[1] / room) for room in ("environments", "environments/alfworld", "agents")]
