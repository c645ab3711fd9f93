"""Catalogues of our own, in the official files: what is sold, how it is told, and which goals are played."""
