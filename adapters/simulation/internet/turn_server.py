"""A TURN server (RFC 8656): relays datagrams for clients that come over UDP or TCP, with long-term credentials.

It also answers Binding requests. Not there: TLS (OpenSSL would draw its own randomness), reservations of port pairs,
mobility, and relaying over TCP on the far side (RFC 6062).
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from hashlib import md5
from random import Random
from typing import Any, Final

from adapters.simulation.internet.datagram import SimulatedDatagramTransport
from adapters.simulation.internet.host import Host
from adapters.simulation.internet.packet import Endpoint, is_ipv6
from adapters.simulation.internet.stun_codec import (
    HEADER_BYTES,
    REQUESTED_ADDRESS_FAMILY,
    UNKNOWN_ATTRIBUTE,
    Class,
    Message,
    Method,
    decode,
    endpoint,
    failure,
    message_bytes,
    raw_attributes,
    success,
    unknown_attributes,
)
from adapters.simulation.internet.turn_allocation import (
    CHANNEL_HEADER_BYTES,
    CHANNEL_MAX,
    CHANNEL_MIN,
    Allocation,
)

TURN_PORT: Final = 3_478
UDP_TRANSPORT: Final = 17
NONCE_BYTES: Final = 12
FAMILY_IPV6: Final = 2
FIRST_BYTE_CHANNEL: Final = 0x40
STREAM_BYTES_MAX: Final = 128 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnOptions:
    """How a server behaves; its users' passwords by name, and how many allocations each may have."""

    passwords: Mapping[str, str] = field(default_factory=lambda: {"user": "password"})
    realm: str = "culm.test"
    lifetime_s: int = 600
    lifetime_s_max: int = 3_600
    nonce_s: float = 3_600.0
    allocations_per_user_max: int = 16


@dataclass(frozen=True, slots=True)
class _Client:
    """Who sent something: the five-tuple, and how to answer."""

    key: tuple[str, Endpoint, Endpoint]
    send: Callable[[bytes], None]

    @property
    def source(self) -> Endpoint:
        return self.key[2]


class TurnServer:
    """The server of a host.

    Args:
        host: Where it runs.
        address: Where clients reach it, and where it relays from; also from the host's other IP version if asked to.
        options: How it behaves; may be replaced at any time.
        seed: What nonces follow.
        port: The port for clients, of UDP and of TCP.
    """

    def __init__(
        self,
        host: Host,
        address: str,
        *,
        options: TurnOptions | None = None,
        seed: int = 0,
        port: int = TURN_PORT,
    ) -> None:
        self.address: Endpoint = (address, port)
        self.options = options or TurnOptions()
        self.allocations: dict[object, Allocation] = {}
        self._host = host
        self._loop = host.internet.loop
        self._random = Random(f"{seed} turn server {host.name}")
        self._nonces: dict[bytes, float] = {}
        self._datagrams: asyncio.DatagramTransport | None = None
        self._streams: asyncio.AbstractServer | None = None
        self._open_streams: dict[asyncio.Transport, None] = {}
        self._handlers: dict[int, Callable[[_Client, Message, dict[int, bytes]], Message]] = {
            Method.REFRESH: self._refresh,
            Method.CREATE_PERMISSION: self._create_permission,
            Method.CHANNEL_BIND: self._bind_channel,
        }

    async def start(self) -> None:
        """Listen for UDP and TCP.

        Raises:
            OSError: The port is taken, or the address is not one of the host.
        """
        with self._host.entered():
            self._datagrams, _ = await self._loop.create_datagram_endpoint(
                lambda: _DatagramListener(self), local_addr=self.address
            )
            self._streams = await self._loop.create_server(
                lambda: _StreamListener(self), *self.address
            )

    def close(self) -> None:
        """Listen no more, and end all allocations."""
        if self._datagrams is not None:
            self._datagrams.close()
        if self._streams is not None:
            self._streams.close()
        for stream in list(self._open_streams):
            stream.abort()
        for key in list(self.allocations):
            self._end(key)

    # --- What arrives ---

    def take_datagram(self, data: bytes, source: Endpoint) -> None:
        """Take what came by UDP."""
        datagrams = self._datagrams
        assert datagrams is not None
        client = _Client(
            ("udp", self.address, source), lambda answer: datagrams.sendto(answer, source)
        )
        self._take(client, data)

    def take_stream(self, data: bytes, stream: asyncio.Transport) -> None:
        """Take one message that came by TCP."""
        self._take(_stream_client(self.address, stream), data)

    def add_stream(self, stream: asyncio.Transport) -> None:
        """Know a connection."""
        self._open_streams[stream] = None

    def remove_stream(self, stream: asyncio.Transport) -> None:
        """A connection has ended, and with it what was allocated over it."""
        self._open_streams.pop(stream, None)
        self._end(_stream_client(self.address, stream).key)

    def _take(self, client: _Client, data: bytes) -> None:
        if data and data[0] & 0xC0 == FIRST_BYTE_CHANNEL:
            self._take_channel(client, data)
            return
        message = decode(data)
        if message is None:
            return
        if message.message_class is Class.REQUEST:
            self._take_request(client, message, raw_attributes(data))
        elif message.message_class is Class.INDICATION and message.message_method is Method.SEND:
            allocation = self.allocations.get(client.key)
            peer = message.attributes.get("XOR-PEER-ADDRESS")
            if allocation is not None and peer is not None:
                allocation.relay(message.attributes.get("DATA", b""), peer)

    def _take_channel(self, client: _Client, data: bytes) -> None:
        number, length = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big")
        allocation = self.allocations.get(client.key)
        if allocation is not None and len(data) >= CHANNEL_HEADER_BYTES + length:
            allocation.relay_channel(number, data[4 : 4 + length])

    def _take_request(self, client: _Client, request: Message, raw: dict[int, bytes]) -> None:
        if unknown_attributes(raw):
            answer = failure(request, UNKNOWN_ATTRIBUTE, "Unknown Attribute")
        elif request.message_method is Method.BINDING:
            answer = success(request)
            answer.attributes["XOR-MAPPED-ADDRESS"] = client.source
            answer.add_fingerprint()
        else:
            key, refusal = self._authenticate(request)
            if key is None:
                answer = refusal
            elif request.message_method is Method.ALLOCATE:
                self._allocate(client, request, raw, key)
                return
            else:
                answer = self._handle(client, request, raw)
                answer.add_message_integrity(key)
        client.send(bytes(answer))

    def _handle(self, client: _Client, request: Message, raw: dict[int, bytes]) -> Message:
        allocation = self.allocations.get(client.key)
        handler = self._handlers.get(request.message_method)
        if handler is None:
            return failure(request, 400, "Bad Request")
        if allocation is None:
            return failure(request, 437, "Allocation Mismatch")
        if allocation.username != request.attributes["USERNAME"]:
            return failure(request, 441, "Wrong Credentials")
        return handler(client, request, raw)

    # --- Credentials (RFC 8489, 9.2) ---

    def _authenticate(self, request: Message) -> tuple[bytes | None, Message]:
        """The key of the user who has signed a request; None, and a refusal, if nobody has."""
        attributes = request.attributes
        if "MESSAGE-INTEGRITY" not in attributes:
            return None, self._challenge(request, 401, "Unauthorized")
        if not {"USERNAME", "REALM", "NONCE"} <= attributes.keys():
            return None, failure(request, 400, "Bad Request")
        made_at = self._nonces.get(attributes["NONCE"])
        if made_at is None or self._loop.time() - made_at > self.options.nonce_s:
            return None, self._challenge(request, 438, "Stale Nonce")
        username = attributes["USERNAME"]
        password = self.options.passwords.get(username)
        if password is None or attributes["REALM"] != self.options.realm:
            return None, self._challenge(request, 401, "Unauthorized")
        secret = f"{username}:{self.options.realm}:{password}".encode()
        key = md5(secret, usedforsecurity=False).digest()
        if not request.check_message_integrity(key):
            return None, self._challenge(request, 401, "Unauthorized")
        return key, request

    def _challenge(self, request: Message, code: int, reason: str) -> Message:
        now = self._loop.time()
        self._nonces = {
            nonce: made_at
            for nonce, made_at in self._nonces.items()
            if now - made_at <= self.options.nonce_s
        }
        nonce = self._random.randbytes(NONCE_BYTES).hex().encode()
        self._nonces[nonce] = now
        answer = failure(request, code, reason)
        answer.attributes["REALM"] = self.options.realm
        answer.attributes["NONCE"] = nonce
        return answer

    # --- Allocations ---

    def _allocate(
        self, client: _Client, request: Message, raw: dict[int, bytes], key: bytes
    ) -> None:
        answer, username = self._refuse_allocation(client, request, raw), ""
        if answer is None:
            username = request.attributes["USERNAME"]
            allocation = self.allocations.get(client.key) or self._make(
                client, request, raw, username
            )
            answer = success(request)
            answer.attributes["XOR-RELAYED-ADDRESS"] = allocation.relayed
            answer.attributes["LIFETIME"] = allocation.lifetime_s
            answer.attributes["XOR-MAPPED-ADDRESS"] = client.source
        answer.add_message_integrity(key)
        client.send(bytes(answer))

    def _refuse_allocation(
        self, client: _Client, request: Message, raw: dict[int, bytes]
    ) -> Message | None:
        existing = self.allocations.get(client.key)
        if existing is not None:
            is_repeated = existing.transaction_id == request.transaction_id
            return None if is_repeated else failure(request, 437, "Allocation Mismatch")
        transport = request.attributes.get("REQUESTED-TRANSPORT")
        if transport is None:
            return failure(request, 400, "Bad Request")
        if transport >> 24 != UDP_TRANSPORT:
            return failure(request, 442, "Unsupported Transport Protocol")
        if self._relay_address(raw) is None:
            return failure(request, 440, "Address Family not Supported")
        username = request.attributes["USERNAME"]
        count = sum(each.username == username for each in self.allocations.values())
        if count >= self.options.allocations_per_user_max:
            return failure(request, 486, "Allocation Quota Reached")
        return None

    def _relay_address(self, raw: dict[int, bytes]) -> str | None:
        """Where to relay from: RFC 8656 wants IPv4 if nothing else is said."""
        with_ipv6 = raw.get(REQUESTED_ADDRESS_FAMILY, b"\1")[:1] == bytes([FAMILY_IPV6])
        addresses = (self.address[0], *self._host.addresses)
        return next((each for each in addresses if is_ipv6(each) == with_ipv6), None)

    def _make(
        self, client: _Client, request: Message, raw: dict[int, bytes], username: str
    ) -> Allocation:
        address = self._relay_address(raw)
        assert address is not None
        allocation = Allocation(
            self._loop,
            username,
            request.transaction_id,
            client.send,
            partial(self._end, client.key),
        )
        relay = SimulatedDatagramTransport(self._host, allocation, (address, 0), None)
        allocation.connection_made(relay)
        allocation.prolong(self._lifetime_s(request))
        self.allocations[client.key] = allocation
        return allocation

    def _lifetime_s(self, request: Message) -> int:
        wanted = request.attributes.get("LIFETIME", self.options.lifetime_s)
        return min(max(int(wanted), self.options.lifetime_s), self.options.lifetime_s_max)

    def _end(self, key: object) -> None:
        allocation = self.allocations.pop(key, None)
        if allocation is not None:
            allocation.end()

    def _refresh(self, client: _Client, request: Message, _raw: dict[int, bytes]) -> Message:
        answer = success(request)
        if request.attributes.get("LIFETIME") == 0:
            self._end(client.key)
            answer.attributes["LIFETIME"] = 0
        else:
            self.allocations[client.key].prolong(self._lifetime_s(request))
            answer.attributes["LIFETIME"] = self.allocations[client.key].lifetime_s
        return answer

    def _create_permission(
        self, client: _Client, request: Message, _raw: dict[int, bytes]
    ) -> Message:
        peer = request.attributes.get("XOR-PEER-ADDRESS")
        if peer is None:
            return failure(request, 400, "Bad Request")
        if not self._can_relay(client, peer):
            return failure(request, 443, "Peer Address Family Mismatch")
        if not self.allocations[client.key].permit(peer[0]):
            return failure(request, 508, "Insufficient Capacity")
        return success(request)

    def _bind_channel(self, client: _Client, request: Message, _raw: dict[int, bytes]) -> Message:
        number = request.attributes.get("CHANNEL-NUMBER", 0)
        peer = request.attributes.get("XOR-PEER-ADDRESS")
        if peer is None or not CHANNEL_MIN <= number <= CHANNEL_MAX:
            return failure(request, 400, "Bad Request")
        if not self._can_relay(client, peer):
            return failure(request, 443, "Peer Address Family Mismatch")
        if not self.allocations[client.key].bind_channel(number, peer):
            return failure(request, 400, "Bad Request")
        return success(request)

    def _can_relay(self, client: _Client, peer: Endpoint) -> bool:
        return is_ipv6(peer[0]) == is_ipv6(self.allocations[client.key].relayed[0])


def _stream_client(address: Endpoint, stream: asyncio.Transport) -> _Client:
    def send(data: bytes) -> None:
        stream.write(data + bytes(-len(data) % 4))  # ChannelData is padded on a stream

    return _Client(("tcp", address, endpoint(stream.get_extra_info("peername"))), send)


class _DatagramListener(asyncio.DatagramProtocol):
    def __init__(self, server: TurnServer) -> None:
        self._server = server

    def datagram_received(self, data: bytes, addr: Any) -> None:  # noqa: ANN401 - as in asyncio
        self._server.take_datagram(data, endpoint(addr))


class _StreamListener(asyncio.Protocol):
    def __init__(self, server: TurnServer) -> None:
        self._server = server
        self._buffer = bytearray()
        self._stream: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._stream = transport
        self._server.add_stream(transport)

    def connection_lost(self, _error: Exception | None) -> None:
        assert self._stream is not None
        self._server.remove_stream(self._stream)

    def data_received(self, data: bytes) -> None:
        assert self._stream is not None
        self._buffer += data
        while (size := _whole_bytes(self._buffer)) is not None:
            message = bytes(self._buffer[:size])
            del self._buffer[:size]
            self._server.take_stream(message, self._stream)
        if len(self._buffer) > STREAM_BYTES_MAX:
            self._stream.abort()


def _whole_bytes(buffer: bytearray) -> int | None:
    """How long the message at the beginning of a stream is; None while it is not there."""
    if len(buffer) < CHANNEL_HEADER_BYTES:
        return None
    if buffer[0] & 0xC0 == FIRST_BYTE_CHANNEL:
        length = CHANNEL_HEADER_BYTES + int.from_bytes(buffer[2:4], "big")
        size = length + -length % 4
    elif len(buffer) < HEADER_BYTES:
        return None
    else:
        size = message_bytes(bytes(buffer[:HEADER_BYTES]))
    return size if len(buffer) >= size else None
