"""The parts of the NAT lab."""
