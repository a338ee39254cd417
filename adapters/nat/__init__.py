"""What this network lets through: STUN and TURN, over sockets that others own."""
