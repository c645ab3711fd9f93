"""Episodes of a policy in environments: which tasks (`choose.py`), and playing them (`collect.py`)."""
