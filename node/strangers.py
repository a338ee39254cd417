"""Connections that peers have opened who share nothing with us: how many there may be, and which has to make room.

Anybody may connect: to join with an invite, or to be found through a node that is a rendezvous. Each such connection
costs some 100 KB for as long as it stays, so that the invariant is: there are only so many, all together and from one
address prefix. The oldest has to go that is of no use; on a node that serves strangers, at last the oldest that it
serves. Who is joining a document of ours is left alone, and who is a member is no stranger.
"""

from domain.connectivity.address import AddressError, parse_address
from domain.connectivity.admission import LOCAL, prefix_of
from domain.connectivity.close_codes import CloseCode
from domain.limits import (
    PREFIX_SERVED_STRANGERS_MAX,
    PREFIX_STRANGERS_MAX,
    SERVED_STRANGERS_MAX,
    STRANGERS_LOOKED_AT_MAX,
    STRANGERS_MAX,
)
from node.link import Link


class Strangers:
    """Those of one node.

    Args:
        serves_anybody: Whether this node is a rendezvous.
    """

    def __init__(self, *, serves_anybody: bool) -> None:
        self._total_max = SERVED_STRANGERS_MAX if serves_anybody else STRANGERS_MAX
        self._prefix_max = PREFIX_SERVED_STRANGERS_MAX if serves_anybody else PREFIX_STRANGERS_MAX
        self._prefixes: dict[Link, bytes] = {}
        self._crowds: dict[bytes, dict[Link, None]] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._prefixes)

    def admit(self, link: Link) -> None:
        """Count a connection that has come, and end another one if it is one too many."""
        prefix = _prefix_of(link)
        self._prefixes[link] = prefix
        crowd = self._crowds.setdefault(prefix, {})
        crowd[link] = None
        if prefix != LOCAL and len(crowd) > self._prefix_max:
            self._make_room(list(crowd)[:STRANGERS_LOOKED_AT_MAX], link)
        elif len(self._prefixes) > self._total_max:
            oldest = zip(self._prefixes, range(STRANGERS_LOOKED_AT_MAX), strict=False)
            self._make_room([each for each, _ in oldest], link)

    def forget(self, link: Link) -> None:
        """A connection has ended, or is one of a stranger no more."""
        prefix = self._prefixes.pop(link, None)
        if prefix is None:
            return
        crowd = self._crowds[prefix]
        del crowd[link]
        if not crowd:
            del self._crowds[prefix]

    def _make_room(self, oldest: list[Link], newcomer: Link) -> None:
        for link in oldest:
            if link.shares_something:
                self.forget(link)
                return
            if link is not newcomer and not link.is_of_use:
                self._end(link)
                return
            self._turn_back(link)
        served = (each for each in oldest if each is not newcomer and not each.is_joining)
        self._end(next(served, newcomer))

    def _turn_back(self, link: Link) -> None:
        """It is of use now: others are looked at before it is again."""
        prefix = self._prefixes.pop(link)
        self._prefixes[link] = prefix
        del self._crowds[prefix][link]
        self._crowds[prefix][link] = None

    def _end(self, link: Link) -> None:
        self.forget(link)
        link.connection.close(CloseCode.RESOURCES, "too many connections of strangers")


def _prefix_of(link: Link) -> bytes:
    try:
        return prefix_of(parse_address(link.connection.remote_address).host)
    except (
        AddressError,
        ValueError,
    ):  # hosts have names where nothing but the number counts: in a simulation
        return LOCAL
