"""The prompting tests use small games of the environments' tests and a tokenizer of the agents' tests."""

import sys
from pathlib import Path

sys.path += [str(Path(__file__).parents[1] / room) for room in ("environments", "environments/alfworld", "agents")]
