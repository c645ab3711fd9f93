"""Self-Guide as a Kedro pipeline: policy and internal reward of a language agent, trained together."""

__version__ = "0.1.0"
