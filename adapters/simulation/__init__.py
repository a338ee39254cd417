"""A world to test in: virtual time, and a network and disks that fail as a seed says.

What a node does here depends on the seed alone: no thread, no socket, no clock and no entropy of the machine is used.
"""
