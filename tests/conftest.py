"""For all tests."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # side by side, and torch takes all cores for itself otherwise
    os.environ.setdefault("OMP_NUM_THREADS", "1")
