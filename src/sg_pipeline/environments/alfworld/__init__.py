"""ALFWorld's text games: the unmodified engine (stock or fast), official data, generated data, a scripted expert."""
