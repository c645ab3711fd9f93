"""One run in several processes: ranks and exchange (`world.py`), common termination (`failures.py`)."""
