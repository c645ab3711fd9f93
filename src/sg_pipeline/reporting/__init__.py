"""Results of a run: summary, learning curve, report.md, page with trajectories, log lines."""
