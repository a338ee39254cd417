"""Ports that the router forwards: asked for by PCP (RFC 6887), or by NAT-PMP (RFC 6886) where it knows no better."""
