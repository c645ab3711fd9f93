"""Trajectories: their types, their table form and the schema that guards it. The ground floor."""
