"""The shadow replica: a second `Doc` that holds exactly what the log holds.

It is where updates are judged and tried before the document that the embedder sees, and where local transactions become
one small update. An update is *refused* only by rules that depend on it and its causal past, so on every replica alike.
What merely fails in the engine, or cannot be read yet, is *blocked*, with all that builds on it, until a rebuild;
our own operations do not list it, since we have not seen it. But for what our role hangs on, which they have to: so
ours go in as soon as they can be read and placed, whatever they build on. They were made without it.

What does not count, since its author was removed or demoted, is applied all the same where something that counts builds
on it, but as text that was deleted at once: its structs, then a delete set over exactly these, its own left out.

Updates are applied in log order per author and after all that they build on: out of order, yrs loses content.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pycrdt import Doc

from domain import codec, limits
from domain.crdt.devices import Devices
from domain.crdt.engine import apply, coalesce, make_doc, save
from domain.crdt.ground import Ground
from domain.crdt.judged import Block, Judged
from domain.crdt.reissue import rename
from domain.crdt.renaming import Renaming
from domain.crdt.walker import Walk, check_update, void_update, walk_update
from domain.errors import EngineError, SealError, UpdateError
from domain.identifiers import LogKey, OperationId, PeerId, Position, SecretId
from domain.ledger.ledger import Ledger
from domain.ledger.reach import Vector, join
from domain.ledger.staircase import Staircase
from domain.operations.kind import Kind, is_content
from domain.operations.operation import Operation
from domain.sealing import DocumentSecret, open_body

SHADOW_CLIENT = 0  # never edits, so its id never shows
KNOWN_KINDS = frozenset({Kind.UPDATE, Kind.DEVICE_METADATA})
WAITS = "it builds on something that waits"
CHECK_GROWTH_PARTS = 8  # a saved copy is tried once the document has grown by an eighth


@dataclass(slots=True)
class _Extent:
    """How much of a content log was judged, and how: `counted` of it as it is, up to `told` as deleted at once."""

    judged: int = 0
    counted: int = 0
    told: int = 0


class Replica:
    """Everything that the log says, as a CRDT.

    Args:
        own: This device.
        ledger: The ledger of the document.
        secrets: The secrets of the document; may grow.
        quarantined: Places of operations that made the engine fail before; they stay blocked.
        suspects: Places of operations after one of which the document could not be saved; each is tried alone.
    """

    def __init__(
        self,
        own: PeerId,
        ledger: Ledger,
        secrets: Mapping[SecretId, DocumentSecret],
        quarantined: frozenset[Position] = frozenset(),
        suspects: frozenset[Position] = frozenset(),
    ) -> None:
        self._own = own
        self._ledger = ledger
        self._secrets = secrets
        self.quarantined = quarantined
        self.suspects = suspects
        self._unsaved: list[Position] = []
        self._tips: dict[OperationId, Position] = {}
        self._state: bytes | None = None
        self._doc: Doc[Any] | None = None
        self._ends: dict[int, Staircase] = {}
        self._ground = Ground()
        self._has_refused_foreign = False
        self.devices = Devices()
        self.renaming = Renaming(ledger, self._ends)
        self._blocked: dict[int, int] = {}
        self._blocks: dict[int, Block] = {}
        self._judged: dict[int, _Extent] = {}
        self._counting_version = ledger.counting.version
        self._unchecked_bytes = 0
        self._saved_bytes = 0

    @property
    def is_blocked(self) -> bool:
        """Whether something waits."""
        return bool(self._blocked)

    @property
    def tips(self) -> Collection[OperationId]:
        """The operations that were judged, are not blocked, and on which no other such one builds."""
        return self._tips.keys()

    def seen(self, log: LogKey | None = None) -> Vector:
        """Give the causal past of our next operation, our own earlier ones aside; or with those of a log of ours."""
        past: Vector = {}
        for position in self._tips.values():
            join(past, self._ledger.past_of(position))
        if log is not None and (own := self._ledger.log(log)) is not None:
            join(past, own.vector_before(own.count))
        return past

    @property
    def is_outdated(self) -> bool:
        """Whether the replica has to be rebuilt: what was judged counts no longer, or has to be applied only now."""
        counting = self._ledger.counting
        if counting.version == self._counting_version:
            return False
        outdated = any(
            extent.counted != min(extent.judged, counting.counted(slot))
            or extent.told != min(extent.judged, counting.told(slot))
            for slot, extent in self._judged.items()
        )
        if not outdated:
            self._counting_version = counting.version
        return outdated

    def hangs_on(self, clients: Iterable[int]) -> bool:
        """Whether it made a difference so far to whom some client ids belong."""
        return any(self._has_refused_foreign or self.next_clock(client) for client in clients)

    def note_own(self, operations: Iterable[Operation]) -> None:
        """Count own operations, whose edits are in already, as seen."""
        for operation in operations:
            if is_content(operation.extension.kind):
                end = operation.header.seq_num + 1
                self._judged[self._slot(operation)] = _Extent(end, end, end)
            if operation.extension.kind == Kind.DEVICE_METADATA:
                self.devices.take(operation, self._open(operation))
        self.note(operations)

    def _slot(self, operation: Operation) -> int:
        log = self._ledger.log(operation.log)
        assert log is not None
        return log.slot

    def note(self, operations: Iterable[Operation]) -> None:
        """Count operations as seen: ours build on them from now on."""
        for operation in operations:
            for previous in operation.extension.previous:
                self._tips.pop(previous, None)
            if operation.header.backlink is not None:
                self._tips.pop(operation.header.backlink, None)
            self._tips[operation.operation_id] = operation.position

    @property
    def _shadow(self) -> "Doc[Any]":
        """The shadow document, loaded on first need: to read a document takes only the other one."""
        if self._doc is None:
            self._doc = make_doc(SHADOW_CLIENT, self._state)
            self._state = None
        return self._doc

    def state(self) -> bytes:
        """Give all that is applied as one update.

        Raises:
            EngineError: It cannot be encoded.
        """
        return self._state if self._state is not None else save(self._shadow)

    # -- What others did --

    def judge(self, operations: Iterable[Operation]) -> Judged:
        """Judge committed operations and apply their content, in causal order.

        Raises:
            EngineError: The engine failed; the replica has to be rebuilt, with `quarantined` as it is now.
        """
        judged = Judged()
        for operation in operations:
            self._judge_one(operation, judged)
        self._try_saving()
        return judged

    def _judge_one(self, operation: Operation, judged: Judged) -> None:
        past = self._ledger.past_of(operation.position)
        if not is_content(operation.extension.kind):
            if operation.author != self._own and self._builds_on_blocked(past):
                self._blocked.setdefault(self._slot(operation), operation.header.seq_num)
            else:
                self.note([operation])
            return
        if not self._judge_extent(operation):
            return
        why = self._why_blocked(operation, past)
        if why is not None:
            self._block(operation, *why, judged)
            return
        try:
            read = self._read_checked(operation, past)
        except (SealError, UpdateError) as error:
            if self._builds_on_blocked(past):  # ours, and not to be placed without that after all
                self._block(operation, Block.PAST, WAITS, judged)
            else:
                self._has_refused_foreign |= error.code == "foreign-client"
                self.note([operation])
                judged.refused.append((operation, str(error)))
            return
        self.note([operation])
        if read is not None:
            self._apply(operation, *read, judged)

    def _apply(self, operation: Operation, update: bytes, walk: Walk, judged: Judged) -> None:
        if not self._does_count(operation):
            update = void_update(update, walk)
        try:
            apply(self._shadow, update)
        except EngineError:
            self.quarantined |= {operation.position}
            raise
        self._advance(operation.header.seq_num, walk)
        self._unchecked_bytes += len(update)
        self._unsaved.append(operation.position)
        judged.applied.append((operation, update))
        if operation.position in self.suspects:
            self._check_saving()

    def _read_checked(self, operation: Operation, past: Vector) -> tuple[bytes, Walk] | None:
        """Open and check an operation; give the update in it, if it is one."""
        self._check_announced(operation, past)
        plain = self._open(operation)
        if operation.extension.kind == Kind.DEVICE_METADATA:
            self._take_device(operation, plain)
            return None
        return self._read_update(plain, operation, past)

    def _block(self, operation: Operation, block: Block, reason: str, judged: Judged) -> None:
        self._blocked.setdefault(self._slot(operation), operation.header.seq_num)
        self._blocks.setdefault(self._slot(operation), block)
        judged.blocked.append((operation, reason))

    def _judge_extent(self, operation: Operation) -> bool:
        """Note how an operation is judged; whether it is to be applied at all, as it is or as deleted at once."""
        counting, slot, end = (
            self._ledger.counting,
            self._slot(operation),
            operation.header.seq_num + 1,
        )
        extent = self._judged.setdefault(slot, _Extent())
        extent.judged = end
        extent.counted = min(end, counting.counted(slot))
        extent.told = min(end, counting.told(slot))
        return extent.told == end

    def _read_update(self, plain: bytes, operation: Operation, past: Vector) -> tuple[bytes, Walk]:
        """Check an update at its place; give it under the names that its clients have here."""
        update, walk = plain, walk_update(plain)
        if names := self.renaming.names(operation.log, past):
            update = rename(update, names)
            walk = walk_update(update)
        self._check_walk(walk, operation.log, operation.header.seq_num, past)
        return update, walk

    def _take_device(self, operation: Operation, plain: bytes) -> None:
        if self._does_count(operation):
            self.devices.take(operation, plain)

    def _does_count(self, operation: Operation) -> bool:
        return operation.header.seq_num < self._ledger.counting.counted(self._slot(operation))

    def _why_blocked(self, operation: Operation, past: Vector) -> tuple[Block, str] | None:
        if operation.author != self._own and self._builds_on_blocked(past):
            return Block.PAST, WAITS
        if operation.position in self.quarantined:
            return Block.ENGINE, "the CRDT engine fails on it"
        if operation.extension.kind not in KNOWN_KINDS:
            return Block.VERSION, f"content of kind {operation.extension.kind} needs a newer culm"
        secret_id = self._secret_id(operation)
        if secret_id not in self._secrets and self._is_announced(secret_id, past):
            return Block.SECRET, "the secret that seals it is not here"
        return None

    def blocked(self) -> dict[Block, int]:
        """Count the operations that wait, by why the first of their log does."""
        counts: dict[Block, int] = {}
        for slot, seq_num in self._blocked.items():
            block = self._blocks.get(slot, Block.PAST)
            counts[block] = counts.get(block, 0) + self._ledger.log_in(slot).count - seq_num
        return counts

    def _builds_on_blocked(self, past: Vector) -> bool:
        return bool(self._blocked) and any(
            past.get(slot, 0) > count for slot, count in self._blocked.items()
        )

    def _secret_id(self, operation: Operation) -> SecretId:
        secret_id = operation.extension.secret
        if secret_id is None:
            log = self._ledger.log(operation.log)
            secret_id = log.secret_before(operation.header.seq_num) if log is not None else None
        assert secret_id is not None  # the ledger takes no content without
        return secret_id

    def _is_announced(self, secret_id: SecretId, past: Vector) -> bool:
        return self._ledger.announcements.is_announced(secret_id, past)

    def _check_announced(self, operation: Operation, past: Vector) -> None:
        """Refuse what is sealed under a secret that nobody was told of: it would hold up all that builds on it.

        Raises:
            SealError: It is.
        """
        if not self._is_announced(self._secret_id(operation), past):
            raise SealError("unannounced-secret", "no earlier operation announces its secret")

    def _open(self, operation: Operation) -> bytes:
        return open_body(
            self._secrets[self._secret_id(operation)],
            self._ledger.document,
            Position(operation.root, operation.header.seq_num),
            operation.extension.kind,
            operation.body,
        )

    def _check_walk(self, walk: Walk, log: LogKey, seq_num: int, past: Vector) -> None:
        """Check an update at its place; `past` may include the operation itself."""
        claims, ledger, ends = self._ledger.claims, self._ledger, self._ends
        originals, own = self.renaming.originals(log), ledger.log(log)
        root = log if own is None else own.root

        def next_clock(client: int) -> int | None:
            if not claims.may_write(originals.get(client, client), root, past):
                return None
            steps = ends.get(client)
            return steps.before(seq_num) if steps is not None else 0

        def end_clock(client: int) -> int:
            steps, owner = ends.get(client), claims.owner(client)
            state = ledger.log(owner) if owner is not None else None
            if steps is None or state is None:
                return 0
            return steps.before(past.get(state.slot, 0) if state.key != log else seq_num)

        check_update(walk, next_clock=next_clock, end_clock=end_clock)
        self._ground.check(walk)

    def _advance(self, seq_num: int, walk: Walk) -> None:
        self._ground.take(walk)
        for section in walk.sections:
            steps = self._ends.get(section.client)
            if steps is None:
                steps = self._ends[section.client] = Staircase()
            steps.raise_to(seq_num, section.end)

    def _try_saving(self) -> None:
        """Make sure that the document can still be saved: some updates apply and then make encoding fail.

        Once a batch, but not more often than the document grows by an eighth: it costs what the document is large.
        """
        if self._unchecked_bytes * CHECK_GROWTH_PARTS > self._saved_bytes:
            self._check_saving()

    def _check_saving(self) -> None:
        """Save a copy; where that fails, one of the operations since the last time is to blame: try them one by one."""
        try:
            self._saved_bytes = len(save(self._shadow))
        except EngineError:
            blamed = frozenset(self._unsaved)
            self.suspects |= blamed
            if len(blamed) == 1:
                self.quarantined |= blamed
            raise
        self._unchecked_bytes = 0
        self._unsaved.clear()

    def take_waiting(self) -> dict[LogKey, int]:
        """Forget that anything waits; give, per log, the first that did."""
        waiting, self._blocked, self._blocks = self._blocked, {}, {}
        return {self._ledger.log_in(slot).key: seq_num for slot, seq_num in waiting.items()}

    # -- What we did --

    def gather(
        self, updates: Sequence[bytes], ends: Mapping[int, int]
    ) -> tuple[bytes, Walk] | None:
        """Turn local updates into one; None where together they change nothing.

        Args:
            updates: The updates, in order.
            ends: For each client id, the clock that they have to reach.

        Raises:
            EngineError: The engine failed; the replica has to be rebuilt.
            UpdateError: What they amount to is nothing that any replica would apply, or less than was edited; likewise.
        """
        update = coalesce(self._shadow, updates)
        walk = None if update is None else walk_update(update)
        reached = {} if walk is None else {section.client: section.end for section in walk.sections}
        for client, end in ends.items():
            if end > max(reached.get(client, 0), self.next_clock(client)):
                # yrs makes such an update of an index within a character, and keeps it for ever.
                raise UpdateError(
                    "incomplete", "an edit cannot be placed: its index may fall within a character"
                )
        return None if update is None or walk is None else (update, walk)

    def check_own(self, walk: Walk, log: LogKey, seq_num: int) -> None:
        """Check an own update as every other replica will.

        Raises:
            UpdateError: They would refuse it, or what our log says already is itself blocked here.
        """
        state = self._ledger.log(log)
        if state is not None and state.slot in self._blocked:
            raise UpdateError("stranded", "earlier edits of this device wait for something here")
        self._check_walk(walk, log, seq_num, self._ledger.present())

    def advance_own(self, walk: Walk, seq_num: int) -> None:
        """Count an own update as part of the log at that place."""
        self._advance(seq_num, walk)

    def clock_before(self, client: int, seq_num: int) -> int:
        """Give the clock at which a client stood before that operation of its log."""
        steps = self._ends.get(client)
        return steps.before(seq_num) if steps is not None else 0

    def read(self, operation: Operation) -> bytes | None:
        """Open the update of a content operation under the names of its clients; None where that cannot be done."""
        if (
            operation.extension.kind != Kind.UPDATE
            or self._secret_id(operation) not in self._secrets
        ):
            return None
        try:
            names = self.renaming.names(operation.log, self._ledger.past_of(operation.position))
            return rename(self._open(operation), names)
        except SealError:
            return None

    def next_clock(self, client: int) -> int:
        """Give the clock at which a client goes on."""
        steps = self._ends.get(client)
        return steps.last if steps is not None else 0

    # -- Keeping --

    def to_value(self) -> codec.Value:
        """Give what `restore` reads; only while nothing is blocked.

        Raises:
            EngineError: The document cannot be encoded.
        """
        ends = [(client, steps.to_value()) for client, steps in self._ends.items()]
        return (
            ends,
            self._has_refused_foreign,
            self._ground.to_value(),
            self.state(),
            self.devices.to_value(),
        )

    def restore(self, value: object) -> bytes:
        """Read what `to_value` gave, and return the state that is in it."""
        ends, has_refused_foreign, ground, state, devices = codec.take_list(value, maximum=5)
        self._has_refused_foreign = codec.take_bool(has_refused_foreign)
        self.devices.restore(devices)
        self._ground.restore(ground)
        for entry in codec.take_list(ends, maximum=2**32):
            client, steps = codec.take_list(entry, maximum=2)
            self._ends[codec.take_int(client, maximum=limits.CLIENT_ID_MAX)] = Staircase.from_value(
                steps
            )
        self._state = codec.take_bytes(state, maximum=limits.SNAPSHOT_BYTES_MAX)
        self._saved_bytes = len(self._state)
        counting = self._ledger.counting
        for height in map(self._ledger.log, self._ledger.heights()):
            if height is not None and height.is_content:
                counted, told = counting.counted(height.slot), counting.told(height.slot)
                self._judged[height.slot] = _Extent(height.count, counted, told)
        self._counting_version = counting.version
        self._tips.update(self._ledger.tip_positions)
        return self._state
