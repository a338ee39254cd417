"""What the domain needs of the world, one package for each outside thing; none knows another.

An adapter inherits the port that it implements, passes the contract suite of that port, and lets no exception of the
library that it wraps through. Only `node.wiring` names the packages in here.
"""
