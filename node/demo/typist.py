"""Types into a document of a running node, as an author or as a recorded session has it, and notes when others see it.

Typing leaves the event loop to the node every few milliseconds and waits where too much is not signed yet: it is meant
to show what a node does for an embedder, and embedders behave so too.
"""

import asyncio
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from pycrdt import TransactionEvent

from domain import limits
from domain.crdt.engine import state_of
from domain.crdt.walker import decode_state_vector
from node.demo.ruler import Ruler, utf16_units
from node.demo.script import ROOT, Deletion, Evidence, Insertion, Move, Place, Script
from node.document import Document
from node.trace import CodePoints, Patch, Trace

SLICE_S: Final = 0.002  # how long the node waits for its turn while we type
PENDING_BYTES_MAX: Final = 4 * limits.COALESCE_BYTES_MAX  # then typing waits for the node
SAMPLES_MAX: Final = 4_096  # edits whose way is followed
ARRIVALS_MAX: Final = 65_536  # times noted for each author; later ones are not
PIECE_CODE_POINTS: Final = (
    limits.COALESCE_BYTES_MAX // 4
)  # a long text is typed in pieces of at most 64 KiB


class Splice(NamedTuple):
    """From UTF-8 offset `start` to `stop` the text goes, and `inserted` comes."""

    start: int
    stop: int
    inserted: str


def to_splices(trace: Trace) -> list[tuple[Splice, ...]]:
    """Turn a sequential trace into splices, one tuple for each transaction; the text at first is typed in pieces."""
    points = CodePoints()
    pieces = range(0, len(trace.start), PIECE_CODE_POINTS)
    opening = [
        (Patch(index, 0, trace.start[index : index + PIECE_CODE_POINTS]),) for index in pieces
    ]
    recorded = (transaction.patches for transaction in trace.transactions)
    return [
        tuple([Splice(*points.replace(patch), patch.inserted) for patch in patches])
        for patches in (*opening, *recorded)
    ]


class Watcher:
    """Notes when what others typed becomes visible.

    Args:
        document: The document.
    """

    def __init__(self, document: Document) -> None:
        self.ydoc = document.ydoc
        self.client: int = self.ydoc.client_id
        self.clocks = state_of(self.ydoc)
        self.arrivals: dict[int, list[tuple[int, float]]] = {}
        self.changed = asyncio.Event()
        self.is_typing = False
        self._loop = asyncio.get_running_loop()
        self._subscription = self.ydoc.observe(self._take)

    def own_clock(self) -> int:
        """Give the clock at which we go on."""
        return state_of(self.ydoc).get(self.client, 0)

    def _take(self, event: TransactionEvent) -> None:
        if self.is_typing:
            return
        now = self._loop.time()
        clocks = decode_state_vector(event.after_state)  # type: ignore[attr-defined] # pycrdt has it
        for client, clock in clocks.items():
            if client != self.client and clock > self.clocks.get(client, 0):
                known = self.arrivals.setdefault(client, [])
                if len(known) < ARRIVALS_MAX:
                    known.append((clock, now))
        self.clocks = clocks
        self.changed.set()


class Voice:
    """An author, as the document knows it.

    Args:
        client: The author's client id.
        typed: Everything that the author will type, in order.
    """

    def __init__(self, client: int, typed: str) -> None:
        self.client = client
        self.is_ascii = typed.isascii()
        self._clocks = array("Q", [0])
        if not self.is_ascii:
            for character in typed:
                self._clocks.append(self._clocks[-1] + utf16_units(character))

    def clock(self, ordinal: int) -> int:
        """Give the clock of a code point."""
        return ordinal if self.is_ascii else self._clocks[ordinal]

    def ordinal(self, clock: int) -> int:
        """Give the code point of a clock."""
        return clock if self.is_ascii else bisect_right(self._clocks, clock) - 1


class Typist:
    """Types for one author.

    Args:
        document: The document.
        watcher: Watches it.
        tell: Told now and then how many edits are typed.
    """

    def __init__(
        self, document: Document, watcher: Watcher, tell: Callable[[int], None] = lambda _: None
    ) -> None:
        self.samples: list[tuple[int, float]] = []
        self._document = document
        self._watcher = watcher
        self._tell = tell
        self._text = document.text(ROOT)
        self._loop = asyncio.get_running_loop()
        self._turn_ends = 0.0

    async def type_splices(
        self, transactions: Sequence[Iterable[Splice]], *, pace_s: float = 0.0
    ) -> None:
        """Type splices, each tuple of them in one transaction.

        Args:
            transactions: What is typed.
            pace_s: Seconds between two transactions; 0 types as fast as it goes.
        """
        step = -(-len(transactions) // SAMPLES_MAX)
        clock = self._watcher.own_clock()
        for number, splices in enumerate(transactions, start=1):
            before, typed_at = clock, self._loop.time()
            self._watcher.is_typing = True
            with self._watcher.ydoc.transaction():
                for start, stop, inserted in splices:
                    if stop > start:
                        del self._text[start:stop]
                    if inserted:
                        self._text.insert(start, inserted)
                        clock += utf16_units(inserted)
            self._watcher.is_typing = False
            if clock > before and number % step == 0:
                self.samples.append((clock, typed_at))
            if pace_s:
                await asyncio.sleep(pace_s)
            elif self._loop.time() > self._turn_ends:
                await self._rest()
            if number % limits.COALESCE_EDITS_MAX == 0 or pace_s:
                self._tell(number)

    async def _rest(self) -> None:
        """Leave the loop to the node for a turn, or until it has caught up."""
        if self._document.statistics().pending_bytes > PENDING_BYTES_MAX:
            await self._document.durable()
        else:
            await asyncio.sleep(0)
        self._turn_ends = self._loop.time() + SLICE_S

    async def type_script(
        self, script: Script, agent: int, clients: Sequence[int], *, pace_s: float = 0.0
    ) -> None:
        """Type what one author has in a script; waits for what others type where the script says so.

        Args:
            script: What all authors type.
            agent: Which of them we are.
            clients: The client ids of all of them.
            pace_s: Seconds between two moves; 0 types as fast as it goes.
        """
        voices = [Voice(client, script.typed(each)) for each, client in enumerate(clients)]
        is_ascii = all(voice.is_ascii for voice in voices)
        reader = _Reader(Ruler(self._watcher.ydoc, ROOT, is_ascii=is_ascii), voices, script)
        moves = script.moves[agent]
        step = -(-len(moves) // SAMPLES_MAX)
        for number, move in enumerate(moves, start=1):
            while not reader.has_seen(move, self._watcher.clocks):
                self._watcher.changed.clear()
                await self._watcher.changed.wait()
            typed_at = self._loop.time()
            count = self._make(move, reader, is_ascii=is_ascii)
            reader.count += count
            if count and number % step == 0:
                self.samples.append((voices[agent].clock(reader.count), typed_at))
            if pace_s:
                await asyncio.sleep(pace_s)
            elif self._loop.time() > self._turn_ends:
                await self._rest()
            self._tell(number)

    def _make(self, move: Move, reader: "_Reader", *, is_ascii: bool) -> int:
        """Make a move and give how many code points it inserts; only a ruler for ASCII sees into a transaction."""
        self._watcher.is_typing = True
        try:
            if is_ascii:
                with self._watcher.ydoc.transaction():
                    return sum([self._make_part(part, reader) for part in move.parts])
            return sum([self._make_part(part, reader) for part in move.parts])
        finally:
            self._watcher.is_typing = False

    def _make_part(self, part: Insertion | Deletion, reader: "_Reader") -> int:
        if isinstance(part, Insertion):
            self._text.insert(reader.offset(part.after), part.text)
            return len(part.text)
        for place in part.places:
            span = reader.span(place)
            if span is not None:
                del self._text[span[0] : span[1]]
        return 0


class _Reader:
    """Finds the places of a script in the text as it is now."""

    def __init__(self, ruler: Ruler, voices: Sequence[Voice], script: Script) -> None:
        self.count = 0
        self._ruler = ruler
        self._voices = voices
        self._evidence = [Evidence(moves) for moves in script.moves]

    def has_seen(self, move: Move, clocks: dict[int, int]) -> bool:
        """Whether everything that a move is about is here."""

        def is_gone(place: Place) -> bool:
            """Whether a character is here and deleted; its deletion may well be here before it."""
            voice = self._voices[place.agent]
            clock = voice.clock(place.ordinal)
            return clock < clocks.get(voice.client, 0) and self._ruler.is_gone(voice.client, clock)

        for other, number in move.needs:
            voice = self._voices[other]
            typed = voice.ordinal(clocks.get(voice.client, 0))
            if not self._evidence[other].has_arrived(number, typed, is_gone):
                return False
        return True

    def offset(self, after: Place | None) -> int:
        """Give the UTF-8 offset after a character."""
        if after is None:
            return 0
        voice = self._voices[after.agent]
        return self._ruler.offset_after(voice.client, voice.clock(after.ordinal + 1) - 1)

    def span(self, place: Place) -> tuple[int, int] | None:
        """Give the UTF-8 offsets of a character; None if it is deleted."""
        voice = self._voices[place.agent]
        clock = voice.clock(place.ordinal)
        return self._ruler.span(voice.client, clock, voice.clock(place.ordinal + 1) - clock)
