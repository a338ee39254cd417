"""What the domain asks of the world (network, storage, time, chance) and what drives it from outside."""
