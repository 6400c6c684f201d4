"""Cost models: numbers in; seconds, bytes and FLOP out. Knows nothing of jobs, files or search."""
