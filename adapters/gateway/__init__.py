"""Ports that the router forwards: asked for by PCP (RFC 6887), NAT-PMP (RFC 6886) or UPnP."""
