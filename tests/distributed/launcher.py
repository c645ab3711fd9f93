"""Processes that share a run, started by torchrun."""

import os
import subprocess
import sys
from pathlib import Path


def torchrun(ranks: int, script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a script in so many processes, to their end."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks)]
    return subprocess.run(
        [*launcher, script, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
