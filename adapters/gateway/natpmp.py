"""NAT-PMP (RFC 6886), for routers that know no PCP: its messages, and a client.

Its answers bear no nonce; that they come from the router is all that can be checked, besides what they are about.
"""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

from adapters.gateway.errors import GatewayMessageError, GatewayRefusedError, GatewayVersionError
from adapters.gateway.lease import GIVE_BACK_S, LIFETIME_S, GatewayClient, Lease
from adapters.gateway.socket import GatewaySocket
from domain.connectivity.address import Address
from domain.connectivity.candidate import is_probable

VERSION: Final = 0
ADDRESS: Final = 0
MAP_UDP: Final = 1
RESPONSE: Final = 128
ERROR_BYTES: Final = 8
ADDRESS_BYTES: Final = 12
MAP_BYTES: Final = 16
RETRANSMIT_S: Final = tuple(0.25 * 2**number for number in range(9))
"""Waits after each transmission (3.1): nine times, in two minutes."""
CHECK_S: Final = RETRANSMIT_S[:4]
REFUSED_S: Final = 900.0
UNSUPPORTED_VERSION: Final = 1
UNSUPPORTED_OPCODE: Final = 5
RESULTS: Final = {2: "not authorized", 3: "network failure", 4: "out of resources"}
"""Section 3.5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer.

    Args:
        opcode: What was asked for: `ADDRESS` or `MAP_UDP`.
        result: 0 for success; else what follows the clock means nothing.
        epoch_s: The router's clock, in seconds.
        host: Its address outside; in answer to `ADDRESS`.
        internal_port: Ours; in answer to `MAP_UDP`, as what follows.
        external_port: What it is outside.
        lifetime_s: For how many seconds.
    """

    opcode: int
    result: int
    epoch_s: int
    host: str = ""
    internal_port: int = 0
    external_port: int = 0
    lifetime_s: int = 0


def encode_address() -> bytes:
    """Ask for the router's address outside (3.2)."""
    return bytes((VERSION, ADDRESS))


def encode_map(port: int, suggested_port: int, lifetime_s: int) -> bytes:
    """Ask for a UDP port (3.3); a lifetime of 0 gives it back (3.4)."""
    return struct.pack("!BBHHHI", VERSION, MAP_UDP, 0, port, suggested_port, lifetime_s)


def decode(data: bytes) -> Response:
    """Read an answer.

    Raises:
        GatewayMessageError: It is none.
    """
    if len(data) < ERROR_BYTES or data[0] != VERSION:
        raise GatewayMessageError("no answer of NAT-PMP")
    _, opcode, result, epoch_s = struct.unpack_from("!BBHI", data)
    sizes = {RESPONSE | ADDRESS: ADDRESS_BYTES, RESPONSE | MAP_UDP: MAP_BYTES}
    size = sizes.get(opcode)
    if size is None:
        raise GatewayMessageError(f"no answer to anything of ours: opcode {opcode}")
    if len(data) != size and not (result and len(data) <= MAP_BYTES):
        raise GatewayMessageError(f"an answer of {len(data)} bytes, not {size}")
    known = Response(opcode=opcode & ~RESPONSE, result=result, epoch_s=epoch_s)
    if result:
        return known
    if known.opcode == ADDRESS:
        return Response(
            opcode=ADDRESS, result=0, epoch_s=epoch_s, host=str(IPv4Address(data[ERROR_BYTES:]))
        )
    internal_port, external_port, lifetime_s = struct.unpack_from("!HHI", data, ERROR_BYTES)
    return Response(
        opcode=MAP_UDP,
        result=0,
        epoch_s=epoch_s,
        internal_port=internal_port,
        external_port=external_port,
        lifetime_s=lifetime_s,
    )


class NatPmpClient(GatewayClient):
    """Asks one router for one port.

    Args:
        socket: Reaches the router.
        port: Ours.
    """

    def __init__(self, socket: GatewaySocket, port: int) -> None:
        self._socket = socket
        self._port = port

    @property
    def protocol(self) -> str:
        return "NAT-PMP"

    async def map(self, suggested: Address | None) -> Lease:
        seen = await self._socket.ask(encode_address(), RETRANSMIT_S, self._read_address)
        suggested_port = suggested.port if suggested is not None else self._port
        request = encode_map(self._port, suggested_port, LIFETIME_S)
        response = await self._socket.ask(request, RETRANSMIT_S, self._read_map)
        external = Address(seen.host, response.external_port)
        if response.lifetime_s == 0 or not is_probable(external):
            raise GatewayRefusedError("it has nothing to give", retry_s=REFUSED_S)
        return Lease(
            external=external,
            lifetime_s=min(response.lifetime_s, LIFETIME_S),
            epoch_s=response.epoch_s,
        )

    async def read_epoch(self) -> int:
        return await self._socket.ask(encode_address(), CHECK_S, self._read_epoch)

    async def give_back(self) -> None:
        await self._socket.ask(encode_map(self._port, 0, 0), GIVE_BACK_S, self._read_end)

    def _read_address(self, data: bytes) -> Response | None:
        response = decode(data)
        return _check(response) if response.opcode == ADDRESS else None

    def _read_epoch(self, data: bytes) -> int | None:
        response = decode(data)
        return response.epoch_s if response.opcode == ADDRESS else None  # an error has it too

    def _read_map(self, data: bytes) -> Response | None:
        response = decode(data)
        if response.opcode != MAP_UDP:
            return None
        checked = _check(response)
        return checked if checked.internal_port == self._port else None

    def _read_end(self, data: bytes) -> Response | None:
        response = self._read_map(data)  # or what an earlier request got, on its way still
        return response if response is not None and response.lifetime_s == 0 else None


def _check(response: Response) -> Response:
    if response.result in (UNSUPPORTED_VERSION, UNSUPPORTED_OPCODE):
        raise GatewayVersionError("it maps no ports by NAT-PMP")
    if response.result:
        what = RESULTS.get(response.result, "an unknown error")
        raise GatewayRefusedError(f"{what} (NAT-PMP, {response.result})", retry_s=REFUSED_S)
    return response
