"""Several processes that share one run: who is there (`world.py`), and how they end together (`failures.py`)."""
