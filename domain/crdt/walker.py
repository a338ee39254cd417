"""Measures and checks a Yjs v1 update before pycrdt sees it.

An update is a section of structs for each client, then a set of deleted clocks. `walk_update` reads it once, builds
none of its content, and says which clocks it brings and which it names; it refuses what is malformed, beyond the
limits, or read differently by yrs and Yjs. `check_update` compares that with what the author may write and has seen.
Both depend on nothing but the operation and its causal past, so every replica refuses the same updates. Neither looks
at a document: whether a parent is a shared type, or a clock falls between two surrogates, shows only on application.

Invariant: an update that passes both advances the state vector by exactly its sections.

Codes of the errors:

    truncated, trailing, varint, text, json, content, zero-length, duplicate-client, client-id, clock, delete-set
                                            malformed, or of a form that replicas would not read alike
    too-large, too-many, too-deep           beyond a limit of `domain.limits`
    self-reference, cyclic-reference        a struct refers to itself, to a later one, or round in a circle
    foreign-client, clock-gap, clock-reused a section that the author may not write, or not there
    unseen-reference, unseen-delete         names a clock that the author has not seen
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from domain.crdt.content import READERS, Budget, read_length, skip_text
from domain.crdt.varint import read_varint, write_varint
from domain.errors import UpdateError
from domain.limits import (
    CLIENT_ID_MAX,
    CLOCK_MAX,
    UPDATE_BYTES_MAX,
    UPDATE_CLIENTS_MAX,
    UPDATE_DELETE_RANGES_MAX,
    UPDATE_STRUCTS_MAX,
)

# The info byte of a struct: its kind in the lower five bits, of which yrs ignores the highest.
KIND_BITS: Final = 0x1F
HAS_ORIGIN: Final = 0x80
HAS_RIGHT_ORIGIN: Final = 0x40
HAS_PARENT_KEY: Final = 0x20
HAS_ANY_ORIGIN: Final = HAS_ORIGIN | HAS_RIGHT_ORIGIN

Wait = tuple[int, int, int]  # a struct at this clock refers to (client, clock) of another client
Named = tuple[int, int] | None  # a client and a clock

Placing = tuple[int, int, Named, Named]
"""A struct: its clock, its info byte, what it names first and second: origin and right origin, or else its parent, None
where that is a root."""


class ClientSection(NamedTuple):
    """The structs of one client in an update. A tuple, because one is made for every operation received.

    Attributes:
        client: Its id.
        clock: The clock of the first struct.
        end: The clock after the last.
        structs: How many there are.
    """

    client: int
    clock: int
    end: int
    structs: int


class Walk(NamedTuple):
    """What an update brings and names.

    Attributes:
        sections: The structs, by client, in the order of the update.
        references: By client, the clock after the highest one that an origin, right origin or parent names.
        deletes: By client, the clock after the highest one deleted; 0 for a client listed without any.
        structs: How many structs there are in all sections.
        delete_ranges: How many ranges of clocks are deleted; a client without any counts as one.
        structs_size: How many bytes the sections take, from the first: the delete set begins there.
        placings: By client, where each of its structs stands, in the order of their clocks.
    """

    sections: tuple[ClientSection, ...]
    references: dict[int, int]
    deletes: dict[int, int]
    structs: int
    delete_ranges: int
    structs_size: int
    placings: dict[int, list[Placing]]

    @property
    def is_empty(self) -> bool:
        """Whether applying the update changes nothing."""
        return not self.sections and not any(self.deletes.values())


def is_complete(update: bytes, state: Mapping[int, int]) -> bool:
    """Whether a document in a state has all that an update builds on and deletes.

    Args:
        update: The update.
        state: By client, the clock after the last one known.

    Raises:
        UpdateError: No replica may apply the update.
    """
    return follow(update, dict(state))


def follow(update: bytes, state: dict[int, int]) -> bool:
    """The same; where it has all of that, the state becomes the one that it has with the update."""
    walk = walk_update(update)
    reached: dict[int, int] = {}
    for section in walk.sections:
        known = state.get(section.client, 0)
        if section.clock > known:
            return False
        reached[section.client] = max(section.end, known)
    for client, clock in (*walk.references.items(), *walk.deletes.items()):
        if clock > reached.get(client, state.get(client, 0)):
            return False
    state.update(reached)
    return True


def walk_update(update: bytes) -> Walk:
    """Measure an update, and refuse it if no replica may apply it.

    Raises:
        UpdateError: The update is malformed, too large, or holds content that culm does not allow.
    """
    if len(update) > UPDATE_BYTES_MAX:
        raise UpdateError("too-large", f"{len(update)} bytes, of at most {UPDATE_BYTES_MAX}")
    try:
        references: dict[int, int] = {}
        placings: dict[int, list[Placing]] = {}
        sections, structs, structs_size = _read_sections(update, references, placings)
        deletes, delete_ranges, end = _read_deletes(update, structs_size)
    except IndexError:
        raise UpdateError("truncated", "the update ends too early") from None
    except UnicodeDecodeError as error:
        raise UpdateError("text", f"not UTF-8: {error.reason}") from None
    if end != len(update):
        raise UpdateError("trailing", f"{len(update) - end} bytes follow the update")
    if references:
        if max(references) > CLIENT_ID_MAX:
            raise UpdateError("client-id", "a reference to a client id of more than 53 bits")
        if max(references.values()) > CLOCK_MAX:
            raise UpdateError("clock", "a reference to a clock of more than 32 bits")
    return Walk(sections, references, deletes, structs, delete_ranges, structs_size, placings)


def _read_sections(
    data: bytes, references: dict[int, int], placings: dict[int, list[Placing]]
) -> tuple[tuple[ClientSection, ...], int, int]:
    count, position = read_varint(data, 0)
    if count > UPDATE_CLIENTS_MAX:
        raise UpdateError("too-many", f"{count} clients, of at most {UPDATE_CLIENTS_MAX}")
    total = 0
    budget = Budget()
    sections: dict[int, ClientSection] = {}
    waits: dict[int, list[Wait]] = {}
    for _ in range(count):
        structs, position = read_varint(data, position)
        start = position
        client, position = read_varint(data, position)
        name = data[start:position]
        clock, position = read_varint(data, position)
        total += structs
        if not structs:
            raise UpdateError("zero-length", f"no structs of client {client}")
        if total > UPDATE_STRUCTS_MAX:
            raise UpdateError("too-many", f"{total} structs, of at most {UPDATE_STRUCTS_MAX}")
        if client > CLIENT_ID_MAX:
            raise UpdateError("client-id", f"client id {client} has more than 53 bits")
        if client in sections:
            raise UpdateError("duplicate-client", f"two sections of client {client}")
        walker = _StructWalker(data, client, name, references, budget)
        end, position = walker.read(position, clock, structs)
        sections[client] = ClientSection(client, clock, end, structs)
        waits[client] = walker.waits
        placings[client] = walker.placings
    if count > 1:
        _check_order(sections, waits)
    return tuple(sections.values()), total, position


class _StructWalker:
    """Reads the structs of one client."""

    __slots__ = (
        "budget",
        "client",
        "data",
        "name",
        "named",
        "other",
        "other_name",
        "placings",
        "references",
        "waits",
    )

    def __init__(
        self, data: bytes, client: int, name: bytes, references: dict[int, int], budget: Budget
    ) -> None:
        self.data = data
        self.client = client
        # Most references name this client or the one before: recognize them as they are encoded.
        self.name = name
        self.other = client
        self.other_name = name
        self.references = references
        self.budget = budget
        self.waits: list[Wait] = []
        self.placings: list[Placing] = []
        self.named: Named = None

    def read(self, position: int, clock: int, count: int) -> tuple[int, int]:
        """Read `count` structs, return the clock and the position after them."""
        data, budget, readers = self.data, self.budget, READERS
        read_reference, placings = self.read_reference, self.placings
        for _ in range(count):
            info = data[position]
            position += 1
            first = second = None
            if info & HAS_ANY_ORIGIN:
                if info & HAS_ORIGIN:
                    position = read_reference(position, clock)
                    first = self.named
                if info & HAS_RIGHT_ORIGIN:
                    position = read_reference(position, clock)
                    second = self.named
            elif info:
                position = self.read_parent(position, clock, info)
                first = self.named
            placings.append((clock, info, first, second))
            reader = readers.get(info & KIND_BITS, read_length if not info else None)
            if reader is None:
                raise UpdateError("content", f"a struct of kind {info & KIND_BITS}")
            length, position = reader(data, position, budget)
            clock += length
            if clock > CLOCK_MAX:
                raise UpdateError("clock", f"client {self.client} passes clock {CLOCK_MAX}")
        return clock, position

    def read_reference(self, position: int, clock: int) -> int:
        """Note the struct that the one at `clock` refers to, return the position after it."""
        data, name = self.data, self.name
        if data.startswith(name, position):
            client = self.client
            position += len(name)
        elif data.startswith(self.other_name, position):
            client = self.other
            position += len(self.other_name)
        else:
            start = position
            client, position = read_varint(data, position)
            self.other, self.other_name = client, data[start:position]
        named, position = read_varint(data, position)
        if client != self.client:
            self.waits.append((clock, client, named))
        elif named >= clock:
            raise UpdateError("self-reference", f"clock {clock} refers to clock {named}")
        if named >= self.references.get(client, 0):
            self.references[client] = named + 1
        self.named = client, named
        return position

    def read_parent(self, position: int, clock: int, info: int) -> int:
        """Read what only a struct without origins says: its parent, and its key there."""
        root = self.data[position]
        if root == 1:
            self.named = None
            position = skip_text(self.data, position + 1)
        elif not root:
            position = self.read_reference(position + 1, clock)
        else:
            raise UpdateError("content", f"a parent of unknown kind {root}")
        return skip_text(self.data, position) if info & HAS_PARENT_KEY else position


def _check_order(sections: dict[int, ClientSection], waits: dict[int, list[Wait]]) -> None:
    """Refuse sections that refer to each other in a circle.

    Follows the references as yrs does: a section that waits for another stays on a stack until that one has come far
    enough. The work is linear in the number of references.
    """
    reached = {client: section.clock for client, section in sections.items()}
    passed = dict.fromkeys(sections, 0)
    for first, section in sections.items():
        stack = {first: section.end - 1}  # by client, the clock that it has to pass
        while stack:
            client = next(reversed(stack))
            wait = _first_unmet(waits[client], passed[client], reached)
            passed[client] = len(waits[client]) if wait is None else wait
            if wait is None:
                reached[client] = sections[client].end
                del stack[client]
                continue
            reached[client], awaited, named = waits[client][wait]
            if reached[client] > stack[client]:
                del stack[client]
            elif named >= sections[awaited].end:
                raise UpdateError(
                    "unseen-reference", f"refers to clock {named} of client {awaited}"
                )
            elif awaited in stack:
                raise UpdateError(
                    "cyclic-reference", f"clients {client} and {awaited} wait for each other"
                )
            else:
                stack[awaited] = named


def _first_unmet(waits: list[Wait], start: int, reached: dict[int, int]) -> int | None:
    for index in range(start, len(waits)):
        _, awaited, named = waits[index]
        if named >= reached.get(awaited, named + 1):
            return index
    return None


def _read_deletes(data: bytes, position: int) -> tuple[dict[int, int], int, int]:
    deletes: dict[int, int] = {}
    total = 0
    clients, position = read_varint(data, position)
    for _ in range(clients):
        client, position = read_varint(data, position)
        count, position = read_varint(data, position)
        total += count or 1  # pycrdt lists clients without ranges too
        if total > UPDATE_DELETE_RANGES_MAX:
            raise UpdateError("too-many", f"{total} ranges, of at most {UPDATE_DELETE_RANGES_MAX}")
        if client > CLIENT_ID_MAX:
            raise UpdateError("client-id", f"client id {client} has more than 53 bits")
        if client in deletes:
            raise UpdateError("duplicate-client", f"client {client} deletes twice")
        end = 0
        for _ in range(count):
            start, position = read_varint(data, position)
            length, position = read_varint(data, position)
            if start < end or not length:
                raise UpdateError("delete-set", f"a range at {start} is empty or out of order")
            end = start + length
        if end > CLOCK_MAX:
            raise UpdateError("clock", f"client {client} deletes beyond clock {CLOCK_MAX}")
        deletes[client] = end
    return deletes, total, position


def check_update(
    walk: Walk,
    *,
    next_clock: Callable[[int], int | None],
    end_clock: Callable[[int], int],
) -> None:
    """Check that an author may write an update, and has seen all that it names.

    Args:
        walk: The update, measured.
        next_clock: For a client id, the clock at which the author has to go on; None if it is not the author's.
        end_clock: For a client id, the clock after the last one in the causal past; 0 if there is none.

    Raises:
        UpdateError: The author may not write this.
    """
    ends: dict[int, int] = {}
    for client, clock, end, _ in walk.sections:
        expected = next_clock(client)
        if clock != expected:
            if expected is None:
                raise UpdateError("foreign-client", f"client {client} belongs to another author")
            code = "clock-gap" if clock > expected else "clock-reused"
            raise UpdateError(code, f"client {client} goes on at {clock}, not at {expected}")
        ends[client] = end
    for client, end in walk.references.items():
        if end > ends.get(client, 0) and end > end_clock(client):
            raise UpdateError("unseen-reference", f"refers to clock {end - 1} of client {client}")
    for client, end in walk.deletes.items():
        if end > ends.get(client, 0) and end > end_clock(client):
            raise UpdateError("unseen-delete", f"deletes clock {end - 1} of client {client}")


def delete_set_over(sections: Iterable[ClientSection]) -> bytes:
    """Make an update without structs that deletes exactly the clocks of these sections."""
    ranges: dict[int, list[list[int]]] = {}
    for client, clock, end, _ in sorted(sections):
        known = ranges.setdefault(client, [])
        if known and clock <= known[-1][1]:
            known[-1][1] = max(end, known[-1][1])
        else:
            known.append([clock, end])
    numbers = [0, len(ranges)]
    for client, known in ranges.items():
        numbers += (client, len(known))
        for clock, end in known:
            numbers += (clock, end - clock)
    return b"".join(map(write_varint, numbers))


def void_update(update: bytes, walk: Walk) -> bytes:
    """Make an update that brings the same structs, all deleted, and deletes nothing else.

    Args:
        update: The update.
        walk: The same update, measured.
    """
    return update[: walk.structs_size] + delete_set_over(walk.sections)[1:]


def decode_state_vector(data: bytes) -> dict[int, int]:
    """Decode a state vector: by client, the clock after the last one known.

    Raises:
        UpdateError: It is malformed, or names a client twice.
    """
    try:
        state: dict[int, int] = {}
        count, position = read_varint(data, 0)
        for _ in range(count):
            client, position = read_varint(data, position)
            clock, position = read_varint(data, position)
            if client in state or client > CLIENT_ID_MAX or clock > CLOCK_MAX:
                raise UpdateError("state-vector", f"client {client} at clock {clock}")
            state[client] = clock
    except IndexError:
        raise UpdateError("truncated", "the state vector ends too early") from None
    if position != len(data):
        raise UpdateError("trailing", f"{len(data) - position} bytes follow the state vector")
    return state


def encode_state_vector(state: dict[int, int]) -> bytes:
    """Encode a state vector; the same one always gives the same bytes."""
    numbers = [len(state)]
    for client in sorted(state, reverse=True):
        numbers += (client, state[client])
    return b"".join(map(write_varint, numbers))
