"""One peer and one document on one connection: what the session says is sent, what it hears is passed on.

Three tasks: one reads what is live, one what comes in bulk, one writes both. The writer keeps nothing to be sent: it
asks the session what the peer lacks and takes that from memory, if it is recent, or from the store; so a slow peer
costs no memory, and falls back to being brought up to date.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence

from domain import limits
from domain.connectivity.close_codes import CloseCode
from domain.connectivity.strategy import Action, strategy_of
from domain.errors import ConnectionLostError, CorruptMessageError, PeerError
from domain.events import DocumentSynced, JoinWaiting, NetworkErrorMet, SecurityEvent
from domain.identifiers import LogKey, OperationId, PeerId
from domain.ledger.ledger import Height
from domain.operations.operation import Operation
from domain.pairing import confirmation_code
from domain.ports.network import Channel
from domain.sync.forwarding import Acknowledgements, Forwarding
from domain.sync.message import Join, JoinPending
from domain.sync.output import (
    ExchangeDone,
    ForkSuspected,
    HeightsChanged,
    JoinAsked,
    JoiningPending,
    JoiningRefused,
    OperationArrived,
    OperationsAnnounced,
    Output,
    SendingPaused,
    StrangerIgnored,
)
from domain.sync.session import Lane, SyncSession
from node.bell import Bell
from node.inbox import Incoming
from node.owner import DocumentOwner
from node.services import Services
from node.stored import from_stored
from node.turns import Turns

logger = logging.getLogger(__name__)

PAGE_OPERATIONS_MAX = 256
PAGE_BYTES_MAX = limits.MIB
BACKLOG_MESSAGES_MAX = 1_024  # untaken answers; waiting for the peer could make both wait
OPERATION_BYTES = 256  # about what one takes on the wire besides its body; a full page is bulk
BAD_SIGNATURE = "bad-signature"
HELD_BACK_MAX = 8  # what a joiner says while its code is compared: that it has nothing yet
SAME_DIGESTS_S = 10.0  # both may say them twice at the beginning; the next come after 48 s


class Exchange:
    """Keeps one peer up to date about one document.

    Args:
        peer: The peer.
        owner: The owner of the document.
        channels: The document's channels on the connection, by what goes on them.
        turns: Whose turn it is to catch up, of the documents of the connection.
        services: The rest of the node.
    """

    def __init__(
        self,
        peer: PeerId,
        owner: DocumentOwner,
        channels: Mapping[Lane, Channel],
        turns: Turns,
        services: Services,
    ) -> None:
        self.peer = peer
        self.owner = owner
        self.announced = 0
        self.received = 0
        self._channels = channels
        self._turns = turns
        self._admission = services.admission
        self._clock = services.environment.clock
        self._entropy = services.environment.entropy
        self._publish = services.publish
        self._farewell: Mapping[LogKey, Height] = {}
        self._session = SyncSession(owner.document.document, self._heights)
        self._bell = Bell()
        self._ignored = 0
        self._asked_from: dict[LogKey, int] = {}
        waits = owner.forwarding_waits  # of members alone: there are any number of others
        self._forwarding = Forwarding(waits.setdefault(peer, {}) if self._is_member() else {})
        self._acknowledgements = Acknowledgements()
        self._given: dict[LogKey, int] = {}
        self._compared: tuple[bytes, bytes] | None = None
        self._compared_at = 0.0
        self._awaited = 0
        self.done_exchange = 0
        self.refusal: str | None = None
        self.code: str | None = None
        """What two people have to compare before we are let in."""
        self._join: Join | None = None
        self._is_asking = False
        self.is_undecided = False
        """Whether the peer waits for its code to be compared."""
        self._held_back: list[bytes] = []
        self.is_over = False

    # -- What others ask of it --

    @property
    def has_begun(self) -> bool:
        """Whether the peer has said how far it is, and takes what it lacks."""
        return self._session.may_send

    @property
    def lacks_ours(self) -> bool:
        """Whether the peer has not acknowledged all that we wrote, as far as it takes anything."""
        heights, held = self.owner.document.heights, self._session.held
        own = [log for log in self.owner.document.own_logs if log in heights]
        return self._may_serve() and any(held(log) < heights[log].count for log in own)

    def open(self) -> int:
        """Compare heights when it is the turn of the peer; give what `done_exchange` is when we have all it had."""
        number = self._session.exchange + 1
        if not self.is_over:
            self.owner.catching_up.ask(self)
        return number

    def say_heights(self) -> None:
        """Tell the peer how far we are."""
        self._awaited = self._session.open()
        self._bell.ring()

    def brings(self) -> Mapping[LogKey, int] | None:
        """Give how far the logs go there of which we lack something; None where it has not said that."""
        return self._session.brings()

    def compare(self, ours: bytes, theirs: bytes) -> None:
        """Compare heights with the peer, as digests differ; unless they are the very same as a moment ago.

        What was said about those is on its way: heights that are said again would have everything sent again.
        """
        now = self._clock.now()
        if (ours, theirs) != self._compared or now - self._compared_at >= SAME_DIGESTS_S:
            self._compared, self._compared_at = (ours, theirs), now
            self.open()

    async def assume_equal(self, *, is_new: bool) -> None:
        """Take it that the peer has what we have, as its digest says; its acknowledgement may have been lost."""
        if is_new:
            self._session.assume_equal()
        counts = {log: height.count for log, height in self.owner.document.heights.items()}
        await self.owner.take_acknowledgement(self.peer, counts, is_complete=True)
        await self.owner.tell_changed()  # whoever waits to be in sync has somebody to ask now

    def ask_to_join(self, join: Join) -> None:
        """Ask the peer to make us a member, and for what it has."""
        self._join, self._is_asking = join, True
        self._session.say(join)
        self.open()

    def _ask_again(self) -> None:
        """Ask once more, now that the peer has been sent what says that we left: a member is given no answer."""
        document = self.owner.document
        is_former = document.role is None and document.ledger.membership.is_former(
            document.key.peer
        )
        if self._is_asking and self._join is not None and is_former and self.code is None:
            self._session.say(self._join)

    # -- What the owner tells --

    def take_commit(
        self, operations: Sequence[Operation], sources: Mapping[OperationId, PeerId]
    ) -> None:
        """Hear of operations that are now on disk: send them on and acknowledge them, at once or a little later."""
        now = self._clock.now()
        self._is_asking &= self.owner.document.role is None  # let in, and perhaps out again soon
        own = self.owner.document.key.peer
        for operation in operations:
            log, source = operation.log, sources.get(operation.operation_id)
            if operation.author == own and source is None:
                continue  # just written; one that a peer gives back to a restored device is received like any other
            count = operation.header.seq_num + 1
            is_first = None if source is None else source == self.peer
            is_author = operation.author == self.peer
            self._acknowledgements.note(log, count, is_first=is_first, is_author=is_author, now=now)
            if is_first:
                self._given[log] = count
            elif not is_author:
                self._forwarding.hold(log, now=now, share=self._share())
        self._bell.ring()

    def _share(self) -> float:
        return self._entropy.draw(1)[0] / 255

    # -- Writing --

    async def write(self) -> None:
        """Send what is to be said and what the peer lacks, until cancelled or the connection ends."""
        try:
            while True:
                await self._flush()
                if self.owner.document.role is None or not self._is_member():
                    await self.say_farewell()
                if self._may_serve() and await self._serve():
                    continue
                await self._wait_for_more()
        except ConnectionLostError:
            return

    async def _wait_for_more(self) -> None:
        now, loop = self._clock.now(), asyncio.get_running_loop()
        next_due = self._forwarding.next_due if self._may_serve() else None
        dues = [due for due in (next_due, self._acknowledgements.due) if due is not None]
        if dues:
            self._bell.ring_at(loop.time() + max(0.0, min(dues) - now))
        await self._bell.wait()

    async def _flush(self) -> None:
        now = self._clock.now()
        if self._given:
            # Who sends an operation holds it, and everything before it in its log: that is a receipt as well.
            given, self._given = self._given, {}
            await self.owner.take_acknowledgement(self.peer, given, is_complete=False)
        for is_wanted, counts in self._acknowledgements.take(now=now).items():
            if self._is_member():
                self._session.acknowledge(counts, is_wanted=is_wanted)
        for lane in Lane:
            for message in self._session.take_messages(lane):
                await self._channels[lane].send(message)

    def _is_member(self) -> bool:
        return self.owner.document.ledger.membership.role(self.peer) is not None

    def _heights(self) -> Mapping[LogKey, Height]:
        """Give how far the logs go that the peer may have of us: all, unless one of us is a former member."""
        document = self.owner.document
        # Who is joining goes on where an earlier connection ended: beginning anew each time, it might never get there.
        is_former = document.ledger.membership.is_former(document.key.peer)
        is_between_members = self._is_member() and not (document.role is None and is_former)
        return document.heights if is_between_members else self._farewell

    async def say_farewell(self) -> None:
        """Look up what passes between a member and a former one: the removal, and all that came before it."""
        own = self.owner.document.key.peer
        membership = self.owner.document.ledger.membership
        former = own if membership.is_former(own) else self.peer
        self._farewell = await self.owner.archive.farewell(former)

    def _may_serve(self) -> bool:
        """Operations go to present members alone; and to former ones those by which they learn that they are."""
        return self._session.may_send and (self._is_member() or bool(self._farewell))

    async def _serve(self) -> bool:
        """Send some of what the peer lacks, or say that this was all; False when there was nothing to do."""
        if self._session.owes_done:
            self._forwarding.release()
        needed = self._session.needed()
        wanted = self._forwarding.ready(needed, now=self._clock.now())
        if not wanted:
            if self._session.owes_done and not needed:
                self._session.finish()
                self._ask_again()
                return True
            return False
        heights = self._heights()
        if self._session.owes_done:
            self._session.announce(sum(heights[log].count - count for log, count in wanted.items()))
        rewinds, recent = self._session.rewinds, self.owner.archive.recent.since(wanted)
        if recent is not None and not self._session.owes_done:
            await self._send(recent, rewinds)  # live edits wait for nobody's turn
        elif recent is not None:
            async with self._turns.turn(self.owner.used):
                await self._send(recent, rewinds)
        else:
            await self._send_from_store()
        return True

    async def _send(self, operations: Sequence[Operation], rewinds: int) -> None:
        """Send what was read when the peer had asked for earlier operations so often; if it has again, no more."""
        size_bytes = sum(len(operation.body) + OPERATION_BYTES for operation in operations)
        lane = self._session.choose_lane(size_bytes)
        for operation in operations:
            height = self._heights().get(operation.log)
            if height is not None and operation.header.seq_num < height.count:
                self._session.send(operation, lane, rewinds=rewinds)
                await self._flush()

    async def _send_from_store(self) -> None:
        """Send everything that the peer lacks, in arrival order, page by page; what comes meanwhile included."""
        after, rewinds = 0, self._session.rewinds
        while rewinds == self._session.rewinds:
            have = self._session.known()
            stored, heights = self.owner.document.account.stored, self._heights()
            for log, height in stored.items():
                told = heights[log].count if log in heights else 0
                if told < height.count and have.get(log, 0) >= told:
                    have[log] = height.count
            async with self._turns.turn(self.owner.used):
                arrivals = await self.owner.store.read_missing(
                    self.owner.document.document,
                    have,
                    after=after,
                    count_max=PAGE_OPERATIONS_MAX,
                    bytes_max=PAGE_BYTES_MAX,
                )
                if not arrivals:
                    return
                await self._send([from_stored(arrival.operation) for arrival in arrivals], rewinds)
            after = arrivals[-1].index

    # -- Reading --

    async def read(self, lane: Lane) -> None:
        """Take what the peer sends on a lane, until cancelled or the connection ends.

        Raises:
            PeerError: The peer broke the protocol.
        """
        try:
            while True:
                data = await self._channels[lane].receive()
                self._session.is_stranger = self.is_stranger()
                if self._hold_back(data, lane):
                    continue
                rewinds = self._session.rewinds
                if lane is Lane.BULK:
                    self.owner.catching_up.note_brought(self)  # a part of something large, perhaps
                for output in self._session.receive(data, lane):
                    await self._take(output)
                # What is only brought, or acknowledged, leaves nothing to send.
                session = self._session
                if session.backlog or session.owes_done or session.rewinds > rewinds:
                    self._bell.ring()
                if session.backlog > BACKLOG_MESSAGES_MAX:
                    raise PeerError(
                        CloseCode.RESOURCES, "the peer takes no answers to what it sends"
                    )
        except ConnectionLostError:
            return
        finally:
            await self.end()

    def _hold_back(self, data: bytes, lane: Lane) -> bool:
        """Keep what a joiner says while its code is being compared: how far it is, which it says once."""
        is_kept = (
            self.is_undecided
            and self._session.is_stranger
            and lane is Lane.LIVE
            and len(self._held_back) < HELD_BACK_MAX
        )
        if is_kept:
            self._held_back.append(data)
        return is_kept

    def _let_in(self) -> None:
        """Listen to a joiner that is a member now, beginning with what it said before."""
        self.is_undecided, self._session.is_stranger = False, False
        held, self._held_back = self._held_back, []
        try:
            for data in held:
                self._session.receive(data)  # it had nothing yet
            if self._session.owes_answer:
                self.open()
        except PeerError as error:
            logger.warning(
                "exchange.joiner_is_odd", extra={"peer": self.peer.short, "error": str(error)}
            )
        self._bell.ring()

    async def _take(self, output: Output) -> None:
        match output:
            case OperationArrived() if self._is_former():
                return  # what counts of it is here already, since the removal builds on it
            case OperationArrived(operation):
                self.received += 1
                self.owner.catching_up.note_brought(self)
                await self.owner.deliver(
                    Incoming(operation, self.peer, self._reject, self._return_corrupt)
                )
            case HeightsChanged():
                await self._take_heights(output)
            case OperationsAnnounced(operations):
                self.announced += operations
            case ExchangeDone(exchange):
                await self._take_done(exchange)
            case JoinAsked(join):
                await self._take_join(join)
            case JoiningPending(nonce):
                await self._show_code(nonce)
            case JoiningRefused(reason):
                self.refusal, self._is_asking = reason, False
                await self.owner.tell_changed()
            case StrangerIgnored() | ForkSuspected() | SendingPaused():
                self._take_trouble(output)

    async def _take_done(self, exchange: int) -> None:
        await self.owner.drained()
        self.done_exchange = max(self.done_exchange, exchange)
        if exchange >= self._awaited:
            self.owner.catching_up.end(self)
        self._publish(DocumentSynced(document=self.owner.document.document, peer=self.peer))
        await self.owner.tell_changed()

    async def _take_heights(self, heard: HeightsChanged) -> None:
        counts, known = heard.counts, self.owner.document.heights
        if heard.is_wanted is not None:
            now = self._clock.now()
            for log in (each for each in counts if each in known):
                self._forwarding.hear(log, is_wanted=heard.is_wanted, now=now, share=self._share())
            if heard.is_wanted:
                self._bell.ring()
        if self._session.owes_answer:
            self.open()
        if heard.is_complete:
            self.owner.catching_up.note_heights(self)
        await self.owner.receipts.compare(self.peer, counts, heard.tips)
        await self.owner.take_acknowledgement(self.peer, counts, is_complete=heard.is_complete)

    def _take_trouble(self, output: StrangerIgnored | ForkSuspected | SendingPaused) -> None:
        match output:
            case StrangerIgnored():
                self._ignored += 1
                if self._ignored > limits.STRANGER_OPERATIONS_MAX:
                    raise PeerError(CloseCode.NOT_WANTED, "you are no member of this document")
            case ForkSuspected(log, seq_num):
                # Ours are not offered: the peer would know both branches, and what we wrote come twice.
                if log not in self.owner.document.own_logs:
                    self._session.offer(log, seq_num)
            case SendingPaused(log, seq_num, reason):
                where = {"peer": self.peer.short, "log": log.log_id.short, "seq_num": seq_num}
                logger.warning("exchange.paused", extra=where | {"reason": reason})

    def is_stranger(self) -> bool:
        """Whether the peer never was a member; while we join, we listen to whom we ask."""
        if self._join is not None and self.owner.document.role is None:
            return False
        is_known = self._is_member() or self._is_former()
        return not is_known and bool(self.owner.document.heights)

    def _is_former(self) -> bool:
        return self.owner.document.ledger.membership.is_former(self.peer)

    def _return_corrupt(self, operation: Operation) -> None:
        """Do what the table says about an operation that is not what its author wrote."""
        error = CorruptMessageError("sent an operation whose signature is not its author's")
        strategy = strategy_of(error)
        self._publish(
            NetworkErrorMet(
                peer=self.peer,
                error=type(error).__name__,
                reason=str(error),
                action=strategy.action.value,
                retry_s=None,
            )
        )
        if strategy.is_security:
            self._publish(SecurityEvent(peer=self.peer, what=str(error)))
        if strategy.action is Action.RESEND:
            self._reject(operation, BAD_SIGNATURE)

    def _reject(self, operation: Operation, reason: str) -> None:
        log, seq_num = operation.log, operation.header.seq_num
        if reason in ("fork-earlier", "wrong-backlink") and seq_num:
            if seq_num <= self._asked_from.get(log, seq_num):  # else that is asked for already
                self._asked_from[log] = seq_num - 1
                self._session.reject(log, seq_num - 1, reason)
        elif reason != "own-fork":
            self._session.reject(log, seq_num, reason)
        self._bell.ring()

    async def _take_join(self, join: Join) -> None:
        await self.owner.drained()  # what came before may say that the peer has left
        answer = await self._admission.admit(self.owner, self.peer, join, self._let_in)
        self.is_undecided = isinstance(answer, JoinPending)
        if answer is not None:
            self._session.say(answer)

    async def _show_code(self, nonce: bytes) -> None:
        """Tell our people the code that they have to compare with the manager's."""
        if self._join is None:
            raise PeerError(CloseCode.PROTOCOL_ERROR, "we did not ask to join")
        document, own = self.owner.document.document, self.owner.document.key.peer
        code = confirmation_code(document, own, self.peer, nonce=nonce, proof=self._join.proof)
        self.code = code
        self._publish(JoinWaiting(document=document, peer=self.peer, code=code))
        await self.owner.tell_changed()

    async def end(self) -> None:
        """Tell all who wait for something to come that nothing more comes."""
        self.is_over = True
        self.owner.catching_up.leave(self)
        await self.owner.tell_changed()

    def stop(self) -> None:
        """Forget about times to come."""
        self._bell.stop()
        self.owner.catching_up.leave(self)
