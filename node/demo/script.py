"""What several authors type at once, told so that it can be typed into a text that has moved on meanwhile.

A position in a recorded session means a version of the text: the one that its author saw. Here it is told by what it
is next to: characters are named by `Place`, who typed them and as the how many-eth code point, so that any replica that
holds them can find them. `relate` turns a concurrent trace into such a `Script`: it replays the trace on one reference
replica per agent, each of which holds exactly the version that the agent's transaction is about, and asks it who is
where.

It knows no nodes. What it keeps: whatever the order in which moves of different authors meet, a character is inserted
once and deleted if and only if some author deleted it, so that the characters of the final text are always the same.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from pycrdt import Assoc, Doc, StickyIndex, Text, TransactionEvent

from domain.crdt.varint import read_varint
from node.trace import Patch, Trace, TraceError

ROOT: Final = "body"
PROGRESS_STEP: Final = 1_000


class Place(NamedTuple):
    """A character: the `ordinal`-th code point (from 0) that `agent` typed."""

    agent: int
    ordinal: int


class Insertion(NamedTuple):
    """`text` comes right after the character `after`; at the beginning where that is None."""

    after: Place | None
    text: str


class Deletion(NamedTuple):
    """These characters go."""

    places: tuple[Place, ...]


class Move(NamedTuple):
    """What an author does in one transaction.

    Attributes:
        parts: Insertions and deletions, in this order.
        needs: For other agents, how many of their moves must have arrived first.
    """

    parts: tuple[Insertion | Deletion, ...]
    needs: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What all authors type.

    Args:
        moves: For each author, what that one does.
    """

    moves: tuple[tuple[Move, ...], ...]

    @property
    def edits(self) -> int:
        """How many moves there are."""
        return sum(map(len, self.moves))

    def typed(self, agent: int) -> str:
        """Everything that an author types, in the order of typing."""
        return "".join(
            part.text
            for move in self.moves[agent]
            for part in move.parts
            if isinstance(part, Insertion)
        )

    def characters(self) -> Counter[str]:
        """Count the characters that are there at the end."""
        typed = [self.typed(agent) for agent in range(len(self.moves))]
        gone = {
            place
            for moves in self.moves
            for move in moves
            for part in move.parts
            if isinstance(part, Deletion)
            for place in part.places
        }
        left = Counter("".join(typed))
        left.subtract(typed[place.agent][place.ordinal] for place in gone)
        return +left


class Evidence:
    """Tells how far another author's moves have arrived, from the text alone.

    Moves of one author arrive in order. One that inserts shows in the clock; of those after it that only delete, the
    characters must be gone. If somebody else deleted these too, they have perhaps not arrived, but that makes no
    difference.

    Args:
        moves: What the author does.
    """

    def __init__(self, moves: Sequence[Move]) -> None:
        self._moves = moves
        self._typed = array("Q", [0])
        self._inserting = array("Q", [0])
        for number, move in enumerate(moves, start=1):
            count = sum(len(part.text) for part in move.parts if isinstance(part, Insertion))
            self._typed.append(self._typed[-1] + count)
            self._inserting.append(number if count else self._inserting[-1])
        self._arrived = 0

    def has_arrived(self, number: int, typed: int, is_gone: Callable[[Place], bool]) -> bool:
        """Whether the first `number` moves are here.

        Args:
            number: How many moves.
            typed: How many code points of the author are known here, those deleted since included.
            is_gone: Whether a character is known here, and deleted.
        """
        if number <= self._arrived:
            return True
        if typed < self._typed[number]:
            return False
        for move in self._moves[self._inserting[number] : number]:
            for part in move.parts:
                if isinstance(part, Deletion) and not all(map(is_gone, part.places)):
                    return False
        self._arrived = number
        return True


class _Replica:
    """The version that one agent sees, each code point as one `x`, so that clocks count code points."""

    def __init__(self, agent: int, agents: int) -> None:
        self.past = [0] * agents
        self.applied = [0] * agents
        self.doc: Doc[Any] = Doc(client_id=agent + 1)
        self.text = self.doc.get(ROOT, type=Text)
        self.emitted: list[bytes] = []
        self._subscription = self.doc.observe(self._keep)

    def _keep(self, event: TransactionEvent) -> None:
        self.emitted.append(event.update)

    def place(self, position: int) -> Place:
        """Give the name of the character at a position."""
        encoded = StickyIndex.new(self.text, position, Assoc.AFTER).encode()
        client, end = read_varint(encoded, 1)
        return Place(client - 1, read_varint(encoded, end)[0])

    def make(self, patch: Patch) -> list[Insertion | Deletion]:
        """Make a patch and tell it by places."""
        position, deleted, inserted = patch
        parts: list[Insertion | Deletion] = []
        if deleted:
            places = tuple(self.place(position + index) for index in range(deleted))
            del self.text[position : position + deleted]
            parts.append(Deletion(places))
        if inserted:
            after = self.place(position - 1) if position else None
            self.text.insert(position, "x" * len(inserted))
            parts.append(Insertion(after, inserted))
        return parts


def relate(trace: Trace, progress: Callable[[int], None] = lambda _: None) -> Script:
    """Tell a concurrent trace by places.

    Args:
        trace: The trace.
        progress: Told now and then how many transactions are done.

    Raises:
        TraceError: A position lies beyond the text of its version.
    """
    agents = trace.agents or 1
    replicas = [_Replica(agent, agents) for agent in range(agents)]
    moves: list[list[Move]] = [[] for _ in range(agents)]
    updates: list[list[tuple[int, bytes]]] = [[] for _ in range(agents)]
    pasts: list[tuple[int, ...]] = []
    for index, transaction in enumerate(trace.transactions):
        agent = transaction.agent
        replica = replicas[agent]
        before = replica.past
        past = list(before)
        for parent in transaction.parents:
            past = [max(pair) for pair in zip(past, pasts[parent], strict=True)]
        needs = tuple(
            (other, count)
            for other, count in enumerate(past)
            if other != agent and count > before[other]
        )
        _catch_up(replica, needs, updates)
        parts = _make_all(replica, transaction.patches, index)
        updates[agent].append((index, replica.emitted.pop() if replica.emitted else b""))
        moves[agent].append(Move(parts, needs))
        past[agent] += 1
        replica.past = past
        pasts.append(tuple(past))
        if index % PROGRESS_STEP == 0:
            progress(index)
    return Script(moves=tuple(map(tuple, moves)))


def _catch_up(
    replica: _Replica,
    needs: Sequence[tuple[int, int]],
    updates: Sequence[Sequence[tuple[int, bytes]]],
) -> None:
    """Bring what others did, and the next transaction is about, to a replica, in the order of the trace."""
    missing: list[tuple[int, bytes]] = []
    for other, count in needs:
        missing += updates[other][replica.applied[other] : count]
        replica.applied[other] = count
    for _, update in sorted(missing):
        if update:
            replica.doc.apply_update(update)
    replica.emitted.clear()


def _make_all(
    replica: _Replica, patches: Sequence[Patch], index: int
) -> tuple[Insertion | Deletion, ...]:
    parts: list[Insertion | Deletion] = []
    with replica.doc.transaction():
        for patch in patches:
            if patch.position + patch.deleted > len(replica.text):
                raise TraceError(
                    f"transaction {index} reaches beyond the text of {len(replica.text)}"
                )
            parts += replica.make(patch)
    return tuple(parts)
