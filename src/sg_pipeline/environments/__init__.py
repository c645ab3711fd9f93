"""Text environments behind one protocol (`base.py`), stepped in worker processes (`pool.py`)."""
