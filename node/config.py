"""The configuration of a node, as a value; where it comes from is the command line's affair."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """How a node runs.

    Args:
        listen: `host:port` to listen on; port 0 takes a free one; None listens on all interfaces, on the port that was
            taken the first time if it is still free.
        network_id: Only nodes with the same one talk to each other; it is no secret.
    """

    listen: str | None = None
    network_id: str = "culm"
