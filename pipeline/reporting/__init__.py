"""The page about a run, and what its panels are made of."""
