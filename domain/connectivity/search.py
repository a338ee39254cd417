"""Looking for one peer through others: whom to ask next, and under which tag.

Some are asked at once, each under one tag after the other. Who knows nobody under any of them makes room for the next
one; who says nothing does not, so it is the order that decides how soon the right one is asked. Each is asked under
each tag once.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Generic, TypeVar

from domain.errors import DialError
from domain.limits import SIGNAL_LINKS_ASKED_MAX, SIGNAL_ROUTES_MAX

_Link = TypeVar("_Link")


class NobodyKnowsError(DialError):
    """Everybody who was asked for a peer knows nobody: asking again at once leads nowhere."""


class Search(Generic[_Link]):
    """One search.

    Args:
        tags: Under which the peer may be found, the likeliest first.
        links: Who may know it, the likeliest first.
    """

    def __init__(self, tags: Sequence[bytes], links: Iterable[_Link]) -> None:
        self._tags = tuple(tags)
        self._untried = deque(links)
        self._asked: dict[_Link, int] = {}

    def begin(self) -> list[tuple[_Link, bytes]]:
        """Whom to ask at first."""
        first = (self._next() for _ in range(SIGNAL_ROUTES_MAX))
        return [each for each in first if each is not None]

    def nobody(self, link: _Link, tag: bytes) -> tuple[_Link, bytes] | None:
        """Nobody is found there; whom to ask next. None if that was not asked there last, or nobody is left."""
        number = self._asked.get(link)
        if number is None or number >= len(self._tags) or self._tags[number] != tag:
            return None
        self._asked[link] = number + 1
        if number + 1 < len(self._tags):
            return link, self._tags[number + 1]
        return self._next()

    def add(self, link: _Link) -> tuple[_Link, bytes] | None:
        """One more has come that may know the peer: whom to ask."""
        self._untried.appendleft(link)
        return self._next()

    @property
    def is_hopeless(self) -> bool:
        """Whether everybody who was asked knows nobody, under any tag."""
        return all(number >= len(self._tags) for number in self._asked.values())

    def _next(self) -> tuple[_Link, bytes] | None:
        while self._untried and len(self._asked) < SIGNAL_LINKS_ASKED_MAX:
            link = self._untried.popleft()
            if link not in self._asked:
                self._asked[link] = 0
                return link, self._tags[0]
        return None


def rank(
    servers: Sequence[_Link],
    near: Sequence[_Link],
    others: Sequence[_Link],
    *,
    turn: int,
    vain: AbstractSet[_Link] = frozenset(),
) -> list[_Link]:
    """Whom to ask in which order.

    Two servers and two who know the peer come first, so that neither sort has to answer before the other is asked.

    Args:
        servers: Rendezvous servers.
        near: Members of a document of which the peer is one too.
        others: Everybody else who hands on offers for us.
        turn: Counts the searches: each begins with others, in case that those of before do not answer.
        vain: Those who knew nobody a moment ago. Some are asked all the same, each time others: where many members
            are connected to each other, searching for one that is away would else cost more than all they have to say.
    """
    some = SIGNAL_ROUTES_MAX // 2
    servers, near, others = (_turned(each, turn) for each in (servers, near, others))
    ranked = [*servers[:some], *near[:some], *servers[some:], *near[some:], *others]
    left_out = set([each for each in ranked if each in vain][some:])
    return [each for each in ranked if each not in left_out]


def _turned(links: Sequence[_Link], turn: int) -> list[_Link]:
    start = turn % len(links) if links else 0
    return [*links[start:], *links[:start]]
