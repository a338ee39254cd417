"""PCP (RFC 6887), as far as one UDP port of IPv4 needs it: its messages, and a client.

An answer counts only if it comes from the router, which the socket sees to, and if nonce, protocol and port are those
that were asked about (8.3, 11.4). What cannot be read is as if it had not come.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Final

from adapters.gateway.errors import (
    GatewayMessageError,
    GatewayRefusedError,
    GatewayVersionError,
)
from adapters.gateway.lease import GIVE_BACK_S, LIFETIME_S, GatewayClient, Lease
from adapters.gateway.socket import GatewaySocket
from domain.connectivity.address import Address
from domain.connectivity.candidate import is_probable
from domain.connectivity.port_mapping import GatewayRoute
from domain.ports.environment import Entropy

VERSION: Final = 2
ANNOUNCE: Final = 0
MAP: Final = 1
RESPONSE: Final = 0x80
UDP: Final = 17
NONCE_BYTES: Final = 12
HEADER_BYTES: Final = 24
MAP_BYTES: Final = 60
MESSAGE_BYTES_MAX: Final = 1_100
"""Section 7; a message is a multiple of four bytes long."""
RETRANSMIT_S: Final = 3.0
"""The first wait; each one after it is twice as long, give or take a tenth (8.1.1)."""
TRIES: Final = 4
TRIES_AT_FIRST: Final = 2
"""Before anything was heard: a router that lets unknown versions pass in silence may still know NAT-PMP."""
REFUSED_S_MIN: Final = 30.0
REFUSED_S_MAX: Final = 1_800.0
"""What an error may say about when to ask again: section 7.4 has both as the usual short and long times."""
UNSUPPORTED_VERSION: Final = 1
UNSUPPORTED_OPCODE: Final = 4
RESULTS: Final = {
    2: "not authorized",
    3: "malformed request",
    5: "unsupported option",
    6: "malformed option",
    7: "network failure",
    8: "no resources",
    9: "unsupported protocol",
    10: "our quota is used up",
    11: "cannot provide that external address",
    12: "our address is not the one that the router sees",
    13: "too many remote peers",
}
"""Section 7.4."""

_HEADER: Final = struct.Struct("!BBBBII12x")
_MAP: Final = struct.Struct("!12sB3xHH16s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """What an answer says about a port.

    Args:
        nonce: 12 bytes, those of the request.
        protocol: 17 is UDP.
        internal_port: Ours.
        external: What it is outside; of port 0 where there is none.
    """

    nonce: bytes
    protocol: int
    internal_port: int
    external: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer.

    Args:
        opcode: What was asked for: `MAP` or `ANNOUNCE`.
        result: 0 for success.
        lifetime_s: How long that holds, in seconds: the mapping, or the error.
        epoch_s: The router's clock, in seconds.
        mapped: What it says about a port; None where it says nothing.
    """

    opcode: int
    result: int
    lifetime_s: int
    epoch_s: int
    mapped: Mapped | None


def encode_announce(client: str) -> bytes:
    """Ask for the router's clock (14.1); `client` is our IPv4 address."""
    return struct.pack("!BBHI16s", VERSION, ANNOUNCE, 0, 0, _pack_host(client))


def encode_map(client: str, nonce: bytes, port: int, suggested: Address, lifetime_s: int) -> bytes:
    """Ask for a UDP port (11.1).

    Args:
        client: Our IPv4 address.
        nonce: 12 bytes, the same for as long as the mapping is wanted.
        port: Ours.
        suggested: What it should be outside, of `0.0.0.0` and port 0 where that does not matter.
        lifetime_s: For how many seconds; 0 gives it back.
    """
    header = struct.pack("!BBHI16s", VERSION, MAP, 0, lifetime_s, _pack_host(client))
    return header + _MAP.pack(nonce, UDP, port, suggested.port, _pack_host(suggested.host))


def decode(data: bytes) -> Response:
    """Read an answer.

    Raises:
        GatewayVersionError: It says that this version is unknown (section 9); NAT-PMP says so too (its appendix A).
        GatewayMessageError: It is none.
    """
    if len(data) < 4 or not data[1] & RESPONSE:  # noqa: PLR2004 - version, opcode, reserved, result
        raise GatewayMessageError("no answer of PCP: too short, or a request")
    if data[0] != VERSION:
        if data[3] == UNSUPPORTED_VERSION:
            raise GatewayVersionError(f"it speaks version {data[0]}")
        raise GatewayMessageError(f"no answer of PCP: version {data[0]}")
    if not HEADER_BYTES <= len(data) <= MESSAGE_BYTES_MAX or len(data) % 4:
        raise GatewayMessageError(f"no answer of PCP: {len(data)} bytes")
    _, opcode, _, result, lifetime_s, epoch_s = _HEADER.unpack_from(data)
    if opcode not in (RESPONSE | MAP, RESPONSE | ANNOUNCE):
        raise GatewayMessageError(f"no answer to anything of ours: opcode {opcode & ~RESPONSE}")
    has_mapping = opcode == RESPONSE | MAP and len(data) >= MAP_BYTES
    if opcode == RESPONSE | MAP and result == 0 and not has_mapping:
        raise GatewayMessageError("an answer about no port")
    return Response(
        opcode=opcode & ~RESPONSE,
        result=result,
        lifetime_s=lifetime_s,
        epoch_s=epoch_s,
        mapped=_take_mapped(data) if has_mapping else None,
    )


def _take_mapped(data: bytes) -> Mapped:
    nonce, protocol, internal_port, external_port, host = _MAP.unpack_from(data, HEADER_BYTES)
    external = Address.from_host(str(IPv6Address(host)), external_port)
    return Mapped(nonce=nonce, protocol=protocol, internal_port=internal_port, external=external)


def _pack_host(host: str) -> bytes:
    return IPv6Address(f"::ffff:{host}").packed


ANYTHING: Final = Address("0.0.0.0", 0)  # noqa: S104 - what section 11.1 wants where nothing is suggested


class PcpClient(GatewayClient):
    """Asks one router for one port.

    Args:
        socket: Reaches the router.
        route: Where it is, and where we are.
        port: Ours.
        nonce: 12 bytes that only we know; with others the router would refuse what it has given us (11.3).
        entropy: For waits that nobody shares.
    """

    def __init__(
        self, socket: GatewaySocket, route: GatewayRoute, port: int, nonce: bytes, entropy: Entropy
    ) -> None:
        self._socket = socket
        self._route = route
        self._port = port
        self._nonce = nonce
        self._entropy = entropy
        self._was_heard = False

    @property
    def protocol(self) -> str:
        return "PCP"

    async def map(self, suggested: Address | None) -> Lease:
        request = self._encode_map(suggested or Address(ANYTHING.host, self._port), LIFETIME_S)
        tries = TRIES if self._was_heard else TRIES_AT_FIRST
        response = await self._socket.ask(request, self._waits_s(tries), self._read_map)
        self._was_heard = True
        mapped = response.mapped
        if (
            mapped is None
            or response.lifetime_s == 0
            or ":" in mapped.external.host
            or not is_probable(mapped.external)
        ):
            raise GatewayRefusedError("it has nothing to give", retry_s=REFUSED_S_MIN)
        return Lease(
            external=mapped.external,
            lifetime_s=min(response.lifetime_s, LIFETIME_S),
            epoch_s=response.epoch_s,
        )

    async def read_epoch(self) -> int:
        request = encode_announce(self._route.local)
        return await self._socket.ask(request, self._waits_s(1), self._read_epoch)

    async def give_back(self) -> None:
        request = self._encode_map(ANYTHING, 0)  # erratum 3621 to 15.1
        await self._socket.ask(request, GIVE_BACK_S, self._read_end)

    def _encode_map(self, suggested: Address, lifetime_s: int) -> bytes:
        return encode_map(self._route.local, self._nonce, self._port, suggested, lifetime_s)

    def _waits_s(self, count: int) -> Iterator[float]:
        for number in range(count):
            chance = int.from_bytes(self._entropy.draw(2), "big") / 0xFFFF
            yield (0.9 + chance / 5) * RETRANSMIT_S * 2**number

    def _read_map(self, data: bytes) -> Response | None:
        response = decode(data)
        if response.opcode != MAP:
            return None
        mapped = response.mapped
        if mapped is not None and (mapped.nonce, mapped.protocol, mapped.internal_port) != (
            self._nonce,
            UDP,
            self._port,
        ):
            return None
        if response.result in (UNSUPPORTED_VERSION, UNSUPPORTED_OPCODE):
            raise GatewayVersionError("it maps no ports by PCP")
        if response.result:
            what = RESULTS.get(response.result, "an unknown error")
            retry_s = min(max(response.lifetime_s, REFUSED_S_MIN), REFUSED_S_MAX)
            raise GatewayRefusedError(f"{what} (PCP, {response.result})", retry_s=retry_s)
        return response

    def _read_end(self, data: bytes) -> Response | None:
        response = self._read_map(data)  # or what an earlier request got, on its way still
        return response if response is not None and response.lifetime_s == 0 else None

    def _read_epoch(self, data: bytes) -> int | None:
        response = decode(data)
        # An error has the clock, too (8.5).
        return response.epoch_s if response.opcode == ANNOUNCE else None
