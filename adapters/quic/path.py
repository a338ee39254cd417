"""Where the packets of a connection go, beneath the one address that its engine sees.

Now a single pair: our socket and the peer's address. Until the hello is done it is locked: what comes from elsewhere
is dropped, so that nobody can make us send to a third party more than it has sent us. Later several candidate pairs
will stand here, probed and kept alive; the engine above will not notice.
"""

from domain.connectivity.address import Address

SocketAddress = tuple[str, int] | tuple[str, int, int, int]


class Path:
    """The way to one peer, and what has passed on it.

    Args:
        remote: The source of the first Initial, or the dialled address.
    """

    def __init__(self, remote: SocketAddress) -> None:
        self.remote = remote
        self.bytes_sent = 0
        self.bytes_received = 0
        self._is_locked = True

    @property
    def address(self) -> Address:
        """Where the peer is, for people and for other nodes."""
        return Address.from_host(self.remote[0], self.remote[1])

    def unlock(self) -> None:
        """The hello is done: connection id and encryption protect what comes, wherever from."""
        self._is_locked = False

    def admits(self, source: SocketAddress) -> bool:
        """Whether a datagram from there may be looked at."""
        return not self._is_locked or source == self.remote
