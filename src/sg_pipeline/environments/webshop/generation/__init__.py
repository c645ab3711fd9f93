"""Generated catalogues in the format of the official files, and panels of goals on them."""
