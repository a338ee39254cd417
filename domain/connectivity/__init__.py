"""How two nodes find and recognise each other and frame what they say: pure rules, no sockets."""
