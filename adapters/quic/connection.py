"""One connection to one peer: drives its engine, runs the hello, and ends with a code that both sides know.

All of it happens in callbacks of the event loop: datagrams, timers, and one flush per turn in which all that was
written leaves together. The invariant: whatever a peer sends, the worst that happens is that its own connection ends.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from adapters.quic.boundary import (
    TIMER_SLACK_S,
    EngineEvent,
    HandshakeDone,
    NameIssued,
    NameRetired,
    ProtocolAgreed,
    QuicEngine,
    StreamCut,
    StreamData,
)
from adapters.quic.channel import QuicChannel
from adapters.quic.ending import SILENT, explain
from adapters.quic.host import ConnectionHost
from adapters.quic.multiplexer import Multiplexer
from adapters.quic.path import Path, PathOwner
from adapters.quic.silence import SilenceOwner, SilenceWatch
from adapters.quic.source import Source
from domain.connectivity.close_codes import CloseCode
from domain.connectivity.framing import encode_frame
from domain.connectivity.hello import DiallerHello, HelloAgreement, HelloOffer, ServerHello
from domain.connectivity.lifecycle import Lifecycle, State, Step
from domain.connectivity.probe import ProbeKey
from domain.connectivity.strategy import connection_lost
from domain.errors import ConnectionLostError, HandshakeError, PeerError
from domain.identifiers import PeerId
from domain.identity import DeviceKey
from domain.limits import (
    BEHIND_S_MAX,
    CHANNEL_NAME_BYTES,
    CLOSE_REASON_BYTES_MAX,
    HELLO_S_MAX,
    MESSAGE_BYTES_MAX,
)
from domain.ports.network import Channel, Connection, ConnectionStatistics, Priority

_logger: Final = logging.getLogger(__name__)

FAREWELLS_MAX: Final = 8
"""How often a peer that has not noticed the end is told again."""
BEHIND_AGAIN_S: Final = 0.002


class PeerConnection(Connection):
    """A connection, from the first datagram to the last.

    Args:
        engine: Its engine.
        path: Where its datagrams go.
        host: The endpoint.
        key: Our own key.
        offer: What we bring to the hello.
        expected: Whom we dial; None if we are dialled.
        proven: Told, before the hello, that whom we dial is there.
        lifecycle: Takes the steps of the connection; of a dial, which goes through several, from `CONNECT` on.
        hello_s_max: Handshake and hello together end after so long.
    """

    def __init__(  # noqa: PLR0913 - each is another thing that it is made of
        self,
        *,
        engine: QuicEngine,
        path: Path,
        host: "ConnectionHost[PeerConnection]",
        key: DeviceKey,
        offer: HelloOffer,
        expected: PeerId | None,
        lifecycle: Lifecycle,
        proven: Callable[["PeerConnection"], None] | None = None,
        hello_s_max: float = HELLO_S_MAX,
    ) -> None:
        self._engine = engine
        self._path = path
        self._host = host
        self._key = key
        self._offer = offer
        self._expected = expected
        self._proven = proven
        self._lifecycle = lifecycle
        self._multiplexer = Multiplexer(engine, self._schedule_flush, host.loop)
        self._hello: DiallerHello | ServerHello | None = None
        self._agreement: HelloAgreement | None = None
        self._lost: ConnectionLostError | None = None
        self._closed: asyncio.Future[None] = host.loop.create_future()
        self._settled: asyncio.Future[None] = host.loop.create_future()
        self._reason = ""
        self._is_flush_scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._silence = SilenceWatch(host.loop, host.now)
        self._farewell: list[bytes] = []
        self._farewells = 0
        self._hello_timer = host.loop.call_later(hello_s_max, self._give_up_hello)
        self._control = QuicChannel(
            self._multiplexer,
            self._multiplexer.control_inbox,
            self._multiplexer.control_outbox,
            self._fail,
        )
        host.add_route(engine.host_cid, self)
        if expected is None:
            self._take(Step.ACCEPT)

    # --- The port ---

    @property
    def peer(self) -> PeerId:
        return self._agreed.peer

    @property
    def is_dialler(self) -> bool:
        return self._expected is not None

    @property
    def instance(self) -> bytes:
        return self._agreed.instance

    @property
    def binding(self) -> bytes:
        return self._agreed.binding

    @property
    def lifecycle(self) -> Lifecycle:
        return self._lifecycle

    @property
    def remote_address(self) -> str:
        return str(self._path.address)

    @property
    def control(self) -> Channel:
        return self._control

    def channel(self, name: bytes, priority: Priority = Priority.NORMAL) -> Channel:
        if len(name) != CHANNEL_NAME_BYTES:
            raise ValueError(f"a channel name has {CHANNEL_NAME_BYTES} bytes, not {len(name)}")
        multiplexer = self._multiplexer
        return QuicChannel(
            multiplexer, multiplexer.inbox(name), multiplexer.outbox(name, priority), self._fail
        )

    def statistics(self) -> ConnectionStatistics:
        return ConnectionStatistics(
            bytes_sent=self._path.bytes_sent,
            bytes_received=self._path.bytes_received,
            messages_sent=self._multiplexer.messages_sent,
            messages_received=self._multiplexer.messages_received,
            round_trip_s=self._engine.round_trip_s,
        )

    def close(self, code: int, reason: str) -> None:
        if self._lost is not None:
            return
        self._transmit()
        reason = reason.encode()[:CLOSE_REASON_BYTES_MAX].decode(errors="ignore")
        self._engine.end(code, reason)
        if self._agreement is not None:
            self._take(Step.CLOSE)
        self._end(connection_lost(code, reason, by_peer=False), reason)
        self._farewell = self._transmit()

    async def wait_closed(self) -> tuple[int, str, bool]:
        await asyncio.shield(self._closed)
        assert self._lost is not None
        return self._lost.code, self._reason, self._lost.by_peer

    # --- The endpoint ---

    @property
    def path(self) -> Path:
        """Where its packets go."""
        return self._path

    @property
    def agreement(self) -> HelloAgreement | None:
        """What the hello settled; None before."""
        return self._agreement

    @property
    def lost(self) -> ConnectionLostError | None:
        """How it ended; None while it lives."""
        return self._lost

    @property
    def has_heard(self) -> bool:
        """Whether the peer has answered at all."""
        return self._engine.has_heard

    @property
    def has_proven(self) -> bool:
        """Whether the peer that we dialled is there: it has shown its key."""
        return isinstance(self._hello, DiallerHello)

    @property
    def settled(self) -> asyncio.Future[None]:
        """Done once the hello is done, or the connection has ended before."""
        return self._settled

    def dial(self) -> None:
        """Send the first packet."""
        self._take(Step.CONNECT)
        self._engine.dial(self._host.now())
        self._flush()

    def take(self, datagrams: Sequence[bytes], source: Source) -> bool:
        """Take datagrams that came in a row from one place; whether a `flush` has to follow after the batch."""
        # The listener is done first, and may then go on by a better way, before the dialler's prober knows of it.
        is_answered = self.is_dialler and self.has_heard
        if not is_answered and not self._path.admits(source):
            return False
        now = self._host.now()
        datagrams = datagrams[: self._path.ration(source, len(datagrams), now)]
        if self._lost is not None:
            self._say_farewell()
            return True
        try:
            read_bytes = self._engine.receive(datagrams, now)
        except Exception:
            # aioquic checks most of what a peer can send, not all of it.
            _logger.exception("quic.datagram.failed", extra={"remote": self.remote_address})
            self.close(CloseCode.PROTOCOL_ERROR, "a datagram could not be processed")
            return True
        if read_bytes:  # anybody can send what we cannot read, or what the peer has sent once more
            self._path.note_received(source, read_bytes, len(datagrams))
            self._silence.take_packet(now)
        return read_bytes > 0 or self._agreement is None

    def flush(self) -> None:
        """Act on what was received and send what there is to send."""
        self._flush()

    def abandon(self) -> None:
        """Stop all timers; the endpoint is closing."""
        self._hello_timer.cancel()
        self._silence.stop()
        if self._timer is not None:
            self._timer.cancel()

    def repeat_farewell(self) -> None:
        """Tell the peer once more that this connection has ended, if we ended it."""
        if self._farewell:
            self._host.send(self._farewell, self._path)

    # --- The engine ---

    def _schedule_flush(self) -> None:
        if not self._is_flush_scheduled and self._lost is None:
            self._is_flush_scheduled = True
            self._host.loop.call_soon(self._flush)

    def _flush(self, now: float | None = None) -> None:
        self._is_flush_scheduled = False
        try:
            self._process_events()
            self._transmit(now)
            if self._lost is None:
                self._multiplexer.after_flush()
        except Exception:
            # An error of ours or of aioquic's: without this the connection would hang, with its peer none the wiser.
            _logger.exception("quic.flush.failed", extra={"remote": self.remote_address})
            if self._lost is None:
                failed = connection_lost(CloseCode.INTERNAL_ERROR, "see the log", by_peer=False)
                self._end(failed, "see the log")
            self._host.forget(self)

    def _transmit(self, now: float | None = None) -> list[bytes]:
        datagrams = self._engine.datagrams(self._host.now() if now is None else now)
        if datagrams:
            self._path.note_sent(sum(map(len, datagrams)), self._host.now())
            self._host.send(datagrams, self._path)
        self._set_timer()
        return datagrams

    def _set_timer(self) -> None:
        at = self._engine.timer()
        if at is None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._engine.is_over:
                self._host.forget(self)
            return
        # A timer that is too early only fires once too often; setting one anew for every packet costs more.
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._host.loop.call_later(max(0.0, at - self._host.now()), self._fire)

    def _fire(self) -> None:
        self._timer = None
        now, at = self._host.now(), self._engine.timer()
        if self._host.is_behind and at is not None and now < at + BEHIND_S_MAX:
            # What is waited for may have arrived: to repeat things now would keep a busy node busy.
            self._timer = self._host.loop.call_later(BEHIND_AGAIN_S, self._fire)
            return
        if at is not None and at <= now + TIMER_SLACK_S:
            # A loop's timer may be early by what a float cannot tell apart, and what is due now, aioquic does later.
            now = max(now, at) + TIMER_SLACK_S
            self._engine.fire(now)
            self._flush(now)
        else:
            self._set_timer()

    def _process_events(self) -> None:
        if self._lost is None and self._lifecycle.state is State.CONNECTING and self.has_heard:
            self._take(Step.HEAR)
        while (event := self._engine.take_event()) is not None:
            if self._lost is None:
                try:
                    self._process(event)
                except PeerError as error:
                    self._fail(error)
                except HandshakeError as error:
                    self.close(error.code, str(error))
            elif isinstance(event, NameIssued):
                self._host.add_route(event.connection_id, self)
        termination = self._engine.termination()
        if termination is not None and self._lost is None:
            self._end(explain(termination, has_heard=self.has_heard), termination.reason)

    def _process(self, event: EngineEvent) -> None:
        match event:
            case StreamData(stream_id, data, is_end):
                self._multiplexer.receive(stream_id, data, is_end=is_end)
                if self._agreement is None:
                    self._advance_hello()
            case ProtocolAgreed():
                if not self.is_dialler:
                    self._start_server_hello()
            case HandshakeDone():
                if self._expected is not None:
                    self._start_dialler_hello(self._expected)
            case NameIssued(connection_id):
                self._host.add_route(connection_id, self)
            case NameRetired(connection_id):
                self._host.remove_route(connection_id, self)
            case StreamCut():
                raise PeerError(CloseCode.PROTOCOL_ERROR, "a stream was cut off")

    # --- The hello ---

    def _start_server_hello(self) -> None:
        self._take(Step.AUTHENTICATE)
        # Already in the first flight, with the certificate: it holds nothing that needs to know who reads it.
        self._hello = ServerHello(self._key.peer, self._offer)
        self._multiplexer.write(self._multiplexer.control_outbox, encode_frame(self._hello.start()))

    def _start_dialler_hello(self, expected: PeerId) -> None:
        if self._engine.peer_key() != expected:
            raise HandshakeError(
                CloseCode.HANDSHAKE_FAILED, "another peer than the expected one is there"
            )
        if self._proven is not None:
            self._proven(self)
        self._take(Step.AUTHENTICATE)
        self._hello = DiallerHello(self._key, expected, self._offer)

    def _advance_hello(self) -> None:
        hello, inbox = self._hello, self._multiplexer.control_inbox
        if hello is None:
            raise PeerError(CloseCode.PROTOCOL_ERROR, "data before the handshake was done")
        while hello.agreement is None and (message := inbox.take()) is not None:
            answer = hello.receive(message)
            if answer is not None:
                self._engine.open_windows()
                self._multiplexer.write(self._multiplexer.control_outbox, encode_frame(answer))
        if hello.agreement is not None:
            self._establish(hello.agreement)

    def _establish(self, agreement: HelloAgreement) -> None:
        self._agreement = agreement
        self._multiplexer.control_inbox.decoder.message_bytes_max = MESSAGE_BYTES_MAX
        self._unlock_path(agreement)
        self._hello_timer.cancel()
        self._silence.start(
            SilenceOwner(
                lifecycle=self._lifecycle,
                ask=self._ask if self.is_dialler else None,
                give_up=self._give_up_peer,
            )
        )
        # The messages that end the hello came under the keys of TLS, which confirms those (RFC 9001, 4.1.2).
        for step in (Step.PROVE, Step.ENCRYPT, Step.CONFIRM):
            self._take(step)
        self._settle()
        self._host.established(self)

    def _unlock_path(self, agreement: HelloAgreement) -> None:
        own, peer = self._key.peer, agreement.peer
        key = ProbeKey(agreement.probe_secret, context=agreement.binding, own=own, peer=peer)
        owner = PathOwner(
            peer=peer,
            heard=self._silence.hear,
            moved=self._follow_path,
            lost=self._silence.lose_way,
            is_waiting=lambda: self._lost is None and self._engine.is_waiting,
            is_dialler=self.is_dialler,
        )
        self._host.unlock(self._path, key, owner)

    def _follow_path(self, is_other: bool) -> None:  # noqa: FBT001 - what a path tells is named there
        """Packets go another way, of which nothing is known; or again where they went, where much may wait."""
        if self._lost is None and (is_other or self._engine.is_waiting):
            if is_other:
                self._engine.forget_path()
            self._engine.retry()
            self._schedule_flush()

    def _give_up_hello(self) -> None:
        self.close(CloseCode.HANDSHAKE_TIMED_OUT, "the hello took too long")

    def _ask(self) -> None:
        """Send something that the peer answers."""
        self._engine.ping()
        self._flush()

    def _give_up_peer(self) -> None:
        """Nothing is heard of it; in case that it hears us, it is told."""
        self.close(CloseCode.TIMED_OUT, SILENT)

    # --- The end ---

    @property
    def _agreed(self) -> HelloAgreement:
        assert self._agreement is not None, "the hello is not done"
        return self._agreement

    def _fail(self, error: PeerError) -> None:
        _logger.warning(
            "quic.peer.failed", extra={"remote": self.remote_address, "code": error.code}
        )
        self.close(error.code, str(error))

    def _end(self, lost: ConnectionLostError, reason: str) -> None:
        self._lost = lost
        self._reason = reason
        if self._agreement is not None or self._expected is None:
            self._take(Step.END)  # else its dial tries the next address, or says how it went
        self._hello_timer.cancel()
        self._silence.stop()
        self._multiplexer.end(lost)
        self._engine.free()
        self._closed.set_result(None)
        self._settle()
        self._host.ended(self)

    def _take(self, step: Step) -> None:
        self._lifecycle.take(step, now=self._host.now())

    def _settle(self) -> None:
        if not self._settled.done():
            self._settled.set_result(None)

    def _say_farewell(self) -> None:
        if self._farewells < FAREWELLS_MAX:
            self._farewells += 1
            self.repeat_farewell()
