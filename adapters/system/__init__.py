"""What the machine gives: time, entropy, a data directory of one's own, and the file with the keys."""
