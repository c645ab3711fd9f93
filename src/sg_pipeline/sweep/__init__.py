"""The search for a trust schedule: trials, workers, their storage, and what comes out of it."""
