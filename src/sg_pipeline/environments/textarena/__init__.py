"""TextArena's single-player games: tasks are seeds, rules and rewards are the library's."""
