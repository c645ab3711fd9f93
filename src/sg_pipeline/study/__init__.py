"""The study: the paper's methods and ablations x seeds, each a separate run, compared in one report."""
