"""The demonstration: several nodes, one process each, edit one document at the same time, and end equal."""
