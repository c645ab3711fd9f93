"""Reporting: a run's summary, its learning-curve figure, and a report with whole trajectories to read."""
