"""How a session of Kedro runs: its context and its hooks."""
