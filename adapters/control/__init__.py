"""The control socket in the data directory, by which commands reach a running node."""
