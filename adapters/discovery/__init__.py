"""Who is in the local network, by multicast DNS."""
