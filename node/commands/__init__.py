"""What can be asked of a node from outside: each command once, for the command line and for the control socket."""
