"""The tests of culm; a package, since aiostun installs another one of that name."""
