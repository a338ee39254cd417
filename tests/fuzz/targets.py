"""Everything that reads bytes from outside, as one table: what it is fed, and the only errors that it may end with.

Two take it: `tests/fuzz/test_targets.py` with Hypothesis, on each run of the tests, and `scripts/fuzz.py` for as long
as one likes, guided by coverage. A target that is fed may do nothing but return or raise one of its errors; where what
it read has one form only, it checks that too.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiostun.attribute import AttrMappedAddr, AttrOtherAddress, AttrXorMappedAddr

from adapters.control.frame import decode_reply, decode_request
from adapters.gateway import natpmp, pcp
from adapters.gateway.errors import GatewayMessageError, GatewayVersionError
from adapters.gateway.route import read_default_gateway
from adapters.nat import stun
from domain import codec
from domain.connectivity.address import Address, AddressError, parse_address
from domain.connectivity.framing import FrameDecoder, take_stream_header
from domain.connectivity.hello import DiallerHello, HelloOffer, ServerHello
from domain.connectivity.offer import OfferError, open_offer
from domain.connectivity.probe import Ping, ProbeError, ProbeKey
from domain.connectivity.server import RendezvousServer, parse_stun, parse_turn
from domain.connectivity.signal import decode_signal, encode_signal
from domain.crdt.walker import (
    check_update,
    decode_state_vector,
    encode_state_vector,
    void_update,
    walk_update,
)
from domain.errors import (
    ConfigurationError,
    HandshakeError,
    InviteError,
    NodeClosedError,
    OperationError,
    PeerError,
    StorageCorruptError,
    UpdateError,
    UsageError,
)
from domain.invite import Invite
from domain.operations.control import decode_body, encode_body
from domain.operations.operation import decode_operation
from domain.record import DocumentRecord
from domain.sync.message import decode_message, encode_message
from node.configuration import CHECKS, FILE_NAME, read_configuration
from node.trace import TraceError, parse_trace
from tests.fuzz import examples
from tests.fuzz.conversation import converse

CORPUS: Final = Path(__file__).parent / "corpus.json"
"""Inputs that once were of use, by target, in hexadecimal."""
STREAM_BYTES_MAX: Final = 600
"""As much of a stream is fed: byte by byte, more takes long and finds nothing new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Something that reads bytes from outside.

    Args:
        name: What it is called on the command line.
        feed: Takes one input.
        errors: What it may raise.
        examples: Gives inputs in good form, to begin with.
    """

    name: str
    feed: Callable[[bytes], None]
    errors: tuple[type[Exception], ...]
    examples: Callable[[], Sequence[bytes]]

    def try_input(self, data: bytes) -> bool:
        """Feed it; whether it was taken. Whatever is not one of its errors goes through."""
        try:
            self.feed(data)
        except self.errors:
            return False
        return True

    def corpus(self) -> list[bytes]:
        """The examples, and what the corpus has for it."""
        kept: dict[str, list[str]] = json.loads(CORPUS.read_text(encoding="utf-8"))
        return [*self.examples(), *map(bytes.fromhex, kept.get(self.name, ()))]


# -- Operations and documents --


def feed_operation(data: bytes) -> None:
    """A header and a body, with the length of the header in two bytes before."""
    size = int.from_bytes(data[:2], "big")
    header, body = data[2 : 2 + size], data[2 + size :]
    operation = decode_operation(header, body)
    assert operation.header.encode() == header
    operation.is_signed()


def feed_control(data: bytes) -> None:
    """The body of a control operation, with its kind in one byte before."""
    kind, body = data[:1], data[1:]
    decoded = decode_body(kind[0] if kind else 0, body)
    assert encode_body(decoded) == body


def feed_update(data: bytes) -> None:
    """A Yjs update; what passes has a form without content that passes too."""
    walk = walk_update(data)
    void = walk_update(void_update(data, walk))
    assert void.sections == walk.sections
    check_update(walk, next_clock=lambda _: 0, end_clock=lambda _: 1)


def feed_state_vector(data: bytes) -> None:
    state = decode_state_vector(data)
    assert decode_state_vector(encode_state_vector(state)) == state


def feed_record(data: bytes) -> None:
    record = DocumentRecord.decode(data)
    assert DocumentRecord.decode(record.encode()) == record


# -- What peers say --


def feed_frames(data: bytes) -> None:
    """A stream: its header, then frames, in chunks whose size is in the first byte."""
    size, stream = 1 + (data[0] if data else 0), bytearray(data[1:STREAM_BYTES_MAX])
    if take_stream_header(stream) is None:
        return
    decoder = FrameDecoder()
    for at in range(0, len(stream), size):
        decoder.feed(bytes(stream[at : at + size]))
        while decoder.next() is not None:
            pass
    assert decoder.taken + decoder.buffered == len(stream)


def feed_message(data: bytes) -> None:
    message = decode_message(data)
    assert encode_message(message) == data


def feed_hello(data: bytes) -> None:
    """What the dialler hears, or the listener, by the first byte."""
    is_dialler, message = data[:1] < b"\x80", data[1:]
    offer = HelloOffer(network_id="culm", **examples.HELLO)
    if is_dialler:
        DiallerHello(examples.KEY, examples.PEER_KEY.peer, offer).receive(message)
    else:
        ServerHello(examples.KEY.peer, offer).receive(message)


def feed_probe(data: bytes) -> None:
    """A probe as it comes; and one that the peer has made, since else none gets past its code."""
    secret, pair = bytes(32), (examples.KEY.peer, examples.PEER_KEY.peer)
    ours = ProbeKey(secret, context=b"c", own=pair[0], peer=pair[1])
    theirs = ProbeKey(secret, context=b"c", own=pair[1], peer=pair[0])
    with suppress(ProbeError):
        ours.open(data)
    probe = ours.open(
        theirs._seal(data[0] if data else 0, data[1:13].ljust(12), data[13:31].ljust(18))
    )
    if not isinstance(probe, Ping):
        assert isinstance(probe.observed, Address)


def feed_offer(data: bytes) -> None:
    """An offer as it comes; and one that was signed and sealed."""
    with suppress(OfferError):
        open_offer(data, examples.KEY, now_us=0)
    open_offer(examples.sealed_offer(data), examples.KEY, now_us=0)


def feed_signal(data: bytes) -> None:
    signal = decode_signal(data)
    assert decode_signal(encode_signal(signal)) == signal


def feed_stun(data: bytes) -> None:
    if stun.is_stun(data):
        message = stun.decode(data)
        if message is not None:
            for kind in (AttrXorMappedAddr, AttrMappedAddr, AttrOtherAddress):
                stun._address(message.get_attribute(kind))


def feed_router(data: bytes) -> None:
    """What comes from the router, as an answer of PCP and as one of NAT-PMP."""
    with suppress(GatewayMessageError):
        answer = natpmp.decode(data)
        assert not answer.host or Address.from_host(answer.host, answer.external_port)
    pcp.decode(data)


# -- What people and programs on this machine say --


def feed_invite(data: bytes) -> None:
    """An invite as it comes; and one that its inviter has signed."""
    with suppress(InviteError):
        Invite.decode(data.decode("utf-8", "replace"))
    signed = codec.encode([data, examples.sign_invite(data)])
    Invite.decode(examples.invite_text(signed))


def feed_request(data: bytes) -> None:
    decode_request(data)


def feed_reply(data: bytes) -> None:
    decode_reply(data)


def feed_trace(data: bytes) -> None:
    parse_trace(data)


def feed_configuration(data: bytes) -> None:
    """A configuration file."""
    folder = examples.folder()
    (folder / FILE_NAME).write_bytes(data)
    read_configuration({"data": str(folder)}, {})


def feed_setting(data: bytes) -> None:
    """A value on the command line, for the setting whose number is in the first byte."""
    names = sorted(CHECKS)
    name = names[data[0] % len(names)] if data else names[0]
    text = data[1:].decode("utf-8", "replace")
    read_configuration({"data": str(examples.empty_folder()), name: text}, {})


def feed_routes(data: bytes) -> None:
    """What the system says about the ways out of the network."""
    gateway = read_default_gateway(data.decode("latin-1"))
    assert gateway is None or Address.from_host(gateway, 0).host == gateway


def feed_address(data: bytes) -> None:
    """The address of a peer or of a server."""
    text = data.decode("utf-8", "replace")
    for parse in (parse_stun, parse_turn, RendezvousServer.parse):
        with suppress(ConfigurationError):
            str(parse(text))
    assert parse_address(str(parse_address(text))) == parse_address(text)


TARGETS: Final = (
    Target(
        name="operation",
        feed=feed_operation,
        errors=(OperationError,),
        examples=examples.operations,
    ),
    Target(name="control", feed=feed_control, errors=(OperationError,), examples=examples.bodies),
    Target(name="update", feed=feed_update, errors=(UpdateError,), examples=examples.updates),
    Target(
        name="state-vector",
        feed=feed_state_vector,
        errors=(UpdateError,),
        examples=examples.state_vectors,
    ),
    Target(
        name="record", feed=feed_record, errors=(StorageCorruptError,), examples=examples.records
    ),
    Target(name="frames", feed=feed_frames, errors=(PeerError,), examples=examples.streams),
    Target(name="message", feed=feed_message, errors=(PeerError,), examples=examples.messages),
    Target(name="session", feed=converse, errors=(PeerError,), examples=examples.conversations),
    Target(name="hello", feed=feed_hello, errors=(HandshakeError,), examples=examples.hellos),
    Target(name="probe", feed=feed_probe, errors=(ProbeError,), examples=examples.probes),
    Target(name="offer", feed=feed_offer, errors=(OfferError,), examples=examples.offers),
    Target(name="signal", feed=feed_signal, errors=(PeerError,), examples=examples.signals),
    Target(name="stun", feed=feed_stun, errors=(), examples=examples.stun_messages),
    Target(
        name="router",
        feed=feed_router,
        errors=(GatewayMessageError, GatewayVersionError),
        examples=examples.router_answers,
    ),
    Target(name="routes", feed=feed_routes, errors=(), examples=examples.routes),
    Target(name="invite", feed=feed_invite, errors=(InviteError,), examples=examples.invites),
    Target(name="request", feed=feed_request, errors=(UsageError,), examples=examples.requests),
    Target(name="reply", feed=feed_reply, errors=(NodeClosedError,), examples=examples.replies),
    Target(name="trace", feed=feed_trace, errors=(TraceError,), examples=examples.traces),
    Target(
        name="configuration",
        feed=feed_configuration,
        errors=(ConfigurationError,),
        examples=examples.configurations,
    ),
    Target(
        name="setting",
        feed=feed_setting,
        errors=(ConfigurationError,),
        examples=examples.settings,
    ),
    Target(name="address", feed=feed_address, errors=(AddressError,), examples=examples.addresses),
)
