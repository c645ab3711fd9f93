"""Unlimited ALFWorld games from the floor plans that the alfworld package ships."""
