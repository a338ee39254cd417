"""An internet in one process: hosts, lines, routers with NAT and firewalls, UDP and TCP, STUN and TURN servers.

What runs on a `VirtualTimeLoop` opens its sockets here by the loop's own methods, unchanged. Everything that chance
decides comes from the seed, and per line and box from a stream of its own.
"""
