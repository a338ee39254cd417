"""The composition root: the only package that names adapters.

A node runs on an `Environment`. `system` makes the real one over a data directory, `simulated` makes others, and no
other line differs; `drivers` makes what drives a node from outside. Each is imported only by those who need it.
"""
