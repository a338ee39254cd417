"""Inputs in good form for each target: from the vectors and from our own encoders, so they are never out of date."""

import base64
import json
import random
import struct
from functools import cache
from ipaddress import IPv6Address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from aioice.stun import Class, Message, Method
from nacl.public import Box, PrivateKey
from nacl.signing import VerifyKey

from domain import codec
from domain.connectivity.address import parse_address
from domain.connectivity.candidate import Candidate, CandidateKind, encode_candidates
from domain.connectivity.framing import StreamHeader, encode_frame, encode_stream_header
from domain.connectivity.hello import DiallerHello, HelloOffer, ServerHello
from domain.connectivity.offer import SECRET_BYTES, TAG_BYTES
from domain.connectivity.signal import Deliver, Forward, Nobody, Register, encode_signal
from domain.founding import new_record
from domain.identity import DeviceKey, Label
from domain.invite import PREFIX
from domain.limits import CHANNEL_NAME_BYTES
from domain.operations.kind import CONTENT_KINDS_FROM, is_content
from tests.domain.crdt.encoding import Author
from tests.domain.crdt.test_walker_fuzz import edit
from tests.fuzz.conversation import recorded
from tests.strategies import SeededEntropy, key

KEY: Final = key(1)
PEER_KEY: Final = key(2)
HELLO: Final[dict[str, Any]] = {
    "instance": b"i" * 16,
    "nonce": b"n" * 32,
    "probe_secret": b"p" * 16,
}
VECTORS: Final = Path(__file__).parents[1] / "vectors"
_ONCE: Final = PrivateKey(b"o" * 32)
_BOX: Final = Box(_ONCE, VerifyKey(bytes(KEY.peer)).to_curve25519_public_key())


@cache
def _vectors(name: str) -> Any:  # noqa: ANN401 - JSON
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


@cache
def _temporary() -> TemporaryDirectory[str]:
    """For files of targets that read files; goes with the process."""
    return TemporaryDirectory(prefix="culm-fuzz-")


def folder() -> Path:
    """A folder to write to."""
    return Path(_temporary().name)


@cache
def empty_folder() -> Path:
    """A folder in which nothing is ever written."""
    path = folder() / "empty"
    path.mkdir()
    return path


def operations() -> list[bytes]:
    """Headers with their bodies, of culm and of p2panda."""
    found = []
    for name in ("culm-operations.json", "p2panda-operations.json"):
        for each in _vectors(name)["operations"]:
            header, body = bytes.fromhex(each["header"]), bytes.fromhex(each["body"] or "")
            found.append(len(header).to_bytes(2, "big") + header + body)
    return found


def bodies() -> list[bytes]:
    """Bodies of control operations with their kinds."""
    return [
        bytes([each["extension"]["kind"]]) + bytes.fromhex(each["body"])
        for each in _vectors("culm-operations.json")["operations"]
        if each["body"] and not is_content(each["extension"].get("kind", CONTENT_KINDS_FROM))
    ]


@cache
def _author() -> Author:
    chance, author = random.Random(7), Author(77)
    for _ in range(40):
        edit(chance, author)
    return author


def updates() -> list[bytes]:
    """Updates of every type of pycrdt, one by one and all in one."""
    author = _author()
    return [*author.updates[:40], author.doc.get_update()]


def state_vectors() -> list[bytes]:
    """The state vector of a document."""
    return [b"\0", _author().doc.get_state()]


def records() -> list[bytes]:
    """The record of a document."""
    return [new_record("notes", SeededEntropy("record")).encode()]


def messages() -> list[bytes]:
    """One message of each kind."""
    return [bytes.fromhex(each) for each in _vectors("culm-values.json")["messages"].values()]


def streams() -> list[bytes]:
    """Streams of frames, cut in several ways."""
    header = encode_stream_header(StreamHeader(b"c" * CHANNEL_NAME_BYTES, 1))
    frames = b"".join(map(encode_frame, sorted(messages(), key=len)))
    return [bytes([size]) + header + frames for size in (0, 15, 255)]


def conversations() -> list[bytes]:
    """What was said in whole conversations of two devices."""
    return recorded()


def hellos() -> list[bytes]:
    """What each side says to the other."""
    offer = HelloOffer(network_id="culm", **HELLO)
    server, dialler = ServerHello(KEY.peer, offer), DiallerHello(PEER_KEY, KEY.peer, offer)
    first = server.start()
    answer = dialler.receive(first)
    assert answer is not None
    last = server.receive(answer)
    assert last is not None
    return [b"\0" + first, b"\xff" + answer, b"\0" + last]


def probes() -> list[bytes]:
    """What a ping and a pong hold."""
    return [
        bytes([kind]) + b"n" * 12 + bytes(10) + b"\xff\xff\x7f\0\0\x01\x11\x51" for kind in (1, 2)
    ]


def sealed_offer(body: bytes) -> bytes:
    """Sign a body as that of an offer, and seal it."""
    content = codec.encode([PEER_KEY.peer, PEER_KEY.sign(Label.OFFER, body), body])
    nonce = b"n" * 24
    return bytes(_ONCE.public_key) + nonce + _BOX.encrypt(content, nonce).ciphertext


def offers() -> list[bytes]:
    """Bodies of offers."""
    candidates = [
        Candidate(CandidateKind.HOST, parse_address("192.0.2.1:4433")),
        Candidate(CandidateKind.HOST, parse_address("[2001:db8::1]:4433")),
    ]
    rest: list[codec.Value] = [
        b"s" * SECRET_BYTES,
        20_000_000,
        1,
        1,
        encode_candidates(candidates),
        None,
        b"a" * 16,
    ]
    return [codec.encode([1, b"i" * 16, KEY.peer, *rest])]


def signals() -> list[bytes]:
    """One of each."""
    tag = b"t" * TAG_BYTES
    kinds = (Register((tag, tag)), Forward(tag, b"sealed"), Deliver(b"sealed"), Nobody(tag))
    return [encode_signal(each) for each in kinds]


def stun_messages() -> list[bytes]:
    """Answers of a STUN server."""
    good = Message(Method.BINDING, Class.RESPONSE, bytes(12))
    good.attributes["XOR-MAPPED-ADDRESS"] = ("203.0.113.1", 4_433)
    good.attributes["OTHER-ADDRESS"] = ("2001:db8::1", 3_479)
    bad = Message(Method.BINDING, Class.ERROR, bytes(12))
    bad.attributes["ERROR-CODE"] = (420, "unknown")
    return [bytes(good), bytes(bad)]


def router_answers() -> list[bytes]:
    """Answers of a router to requests for a port, by PCP and by NAT-PMP."""
    ours, outside = IPv6Address("::ffff:10.0.0.2").packed, IPv6Address("::ffff:203.0.113.1").packed
    mapped = b"n" * 12 + struct.pack("!B3xHH", 17, 4_433, 4_433) + outside
    return [
        struct.pack("!BBBBII12x", 2, 0x81, 0, 0, 3_600, 7) + mapped,
        struct.pack("!BBBBII12x", 2, 0x81, 0, 2, 1_800, 7) + mapped[:20] + ours,
        struct.pack("!BBBBII12x", 2, 0x80, 0, 0, 0, 7),
        struct.pack("!BBHI", 0, 128, 1, 7),
        struct.pack("!BBHI", 0, 128, 0, 7) + outside[-4:],
        struct.pack("!BBHIHHI", 0, 129, 0, 7, 4_433, 4_433, 3_600),
    ]


def routes() -> list[bytes]:
    """What Linux says about the ways out of a network."""
    head = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT"
    default = "eth0 00000000 0100000A 0003 0 0 100 00000000 0 0 0"
    near = "eth0 0000000A 00000000 0001 0 0 100 00FFFFFF 0 0 0"
    return [f"{head}\n{default}\n{near}".replace(" ", "\t").encode()]


def invite_text(data: bytes) -> str:
    """Write the bytes of an invite as its text."""
    return PREFIX + base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign_invite(contents: bytes) -> bytes:
    """Sign the contents of an invite as the inviter of the vectors."""
    seed = bytes.fromhex(_vectors("culm-values.json")["invite"]["inviter_seed"])
    return DeviceKey(seed).sign(Label.INVITE, contents)


def invites() -> list[bytes]:
    """An invite, and what it holds."""
    text: str = _vectors("culm-values.json")["invite"]["text"]
    encoded = text.removeprefix(PREFIX)
    data = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
    contents = codec.decode_array(data, bytes_max=len(data))[0]
    assert isinstance(contents, bytes)
    return [text.encode(), contents]


def requests() -> list[bytes]:
    """What a command asks of a node."""
    return [
        b'{"command":"status","arguments":{}}\n',
        b'{"command":"cat","arguments":{"document":"ab","n":[1,2.5,null,true]}}\n',
    ]


def replies() -> list[bytes]:
    """What a node answers."""
    return [
        b'{"answer":{"peers":[]}}\n',
        b'{"result":{"answers":2}}\n',
        b'{"error":{"type":"UsageError","code":null,"message":"no"}}\n',
    ]


def traces() -> list[bytes]:
    """A sequential trace and a concurrent one."""
    sequential = {"startContent": "a", "endContent": "ba", "txns": [{"patches": [[0, 0, "b"]]}]}
    patches = [[0, 0, "x\u00e9"]]
    concurrent = {
        "kind": "concurrent",
        "endContent": "x\u00e9x\u00e9",
        "numAgents": 2,
        "txns": [
            {"parents": [], "agent": 0, "patches": patches},
            {"parents": [], "agent": 1, "patches": patches},
            {"parents": [0, 1], "agent": 1, "patches": [[1, 1, ""]]},
        ],
    }
    return [json.dumps(each).encode() for each in (sequential, concurrent)]


def configurations() -> list[bytes]:
    """A file with several settings."""
    return [
        b'listen = "127.0.0.1:4433"\nstun = "stun.example.org"\n',
        b'turn = "turn:a:b@192.0.2.1:3478?transport=udp"\ncongestion_control = "cubic"\n',
    ]


def settings() -> list[bytes]:
    """Values of several kinds, for whichever setting."""
    values = (
        "127.0.0.1:0",
        "[::1]:4433",
        "stun.example.org, 192.0.2.1",
        "culm",
        "turns:u:p@h?pin=00",
    )
    return [bytes([number]) + value.encode() for number in range(12) for value in values]


def addresses() -> list[bytes]:
    """Addresses of peers, STUN and TURN servers, rendezvous."""
    pin = "ab" * 32
    return [
        b"192.0.2.1:4433",
        b"[2001:db8::1]:4433",
        b"host.example.org:1",
        b"turn:user:pass%20word@192.0.2.1:3478?transport=tcp",
        f"turns:host?pin={pin}&secret=s".encode(),
        f"{KEY.peer}@[::1]:4433".encode(),
    ]
