"""Who is found under which tag, and whom of them an offer goes to, where more are there than get one.

Anybody who has learnt a tag can register it too, on as many connections as it likes. So that this keeps nothing from
whoever was there first, a tag that somebody registers again keeps its place, and an offer goes to the oldest, the
newest and some of those between, drawn anew each time: who comes back later is the newest for a while, and one among
others then.
"""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from domain.limits import SIGNAL_ROUTES_MAX

_DRAWN_BYTES = 8
_Receiver = TypeVar("_Receiver")


class Switchboard(Generic[_Receiver]):
    """The tags of those who are connected.

    Args:
        draw: Gives so many random bytes.
    """

    def __init__(self, draw: Callable[[int], bytes]) -> None:
        self._draw = draw
        self._tags: dict[_Receiver, dict[bytes, None]] = {}
        self._by_tag: dict[bytes, dict[_Receiver, None]] = {}

    @property
    def tags(self) -> frozenset[bytes]:
        """All tags under which somebody is found."""
        return frozenset(self._by_tag)

    def has(self, receiver: _Receiver) -> bool:
        """Whether somebody is found under any tag."""
        return receiver in self._tags

    def register(self, receiver: _Receiver, tags: Iterable[bytes]) -> None:
        """From now on a receiver is found under these tags alone; it keeps its place under those that it had."""
        before, after = self._tags.pop(receiver, {}), dict.fromkeys(tags)
        for tag in before:
            if tag not in after:
                del self._by_tag[tag][receiver]
                if not self._by_tag[tag]:
                    del self._by_tag[tag]
        for tag in after:
            self._by_tag.setdefault(tag, {})[receiver] = None
        if after:
            self._tags[receiver] = after

    def find(self, tag: bytes, *, besides: _Receiver) -> list[_Receiver]:
        """Who gets an offer under a tag: at most `SIGNAL_ROUTES_MAX`, and never who has sent it."""
        found = [each for each in self._by_tag.get(tag, {}) if each != besides]
        if len(found) <= SIGNAL_ROUTES_MAX:
            return found
        between = found[1:-1]
        drawn = [
            between.pop(int.from_bytes(self._draw(_DRAWN_BYTES), "big") % len(between))
            for _ in range(SIGNAL_ROUTES_MAX - 2)
        ]
        return [found[0], *drawn, found[-1]]
