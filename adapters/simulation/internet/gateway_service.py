"""The router's side of PCP (RFC 6887) and NAT-PMP (RFC 6886), with messages of its own making.

Nothing of it is shared with `adapters.gateway`, so that a mistake in one does not hide in the other.
"""

import struct
from collections import Counter
from ipaddress import IPv6Address
from typing import Final

from adapters.simulation.internet.forwarding import Forwarding
from adapters.simulation.internet.packet import Endpoint, Protocol

GATEWAY_PORT: Final = 5_351
LIFETIME_S_MAX: Final = 7_200
RESPONSE: Final = 0x80
SUCCESS, UNSUPPORTED_VERSION, NOT_AUTHORIZED = 0, 1, 2
PCP_MALFORMED, PCP_UNSUPPORTED_OPCODE, PCP_NO_RESOURCES = 3, 4, 8
PCP_UNSUPPORTED_PROTOCOL, PCP_ADDRESS_MISMATCH = 9, 12
NAT_PMP_NO_RESOURCES, NAT_PMP_UNSUPPORTED_OPCODE = 4, 5
PCP_VERSION, PCP_ANNOUNCE, PCP_MAP = 2, 0, 1
PCP_HEADER_BYTES, PCP_MAP_BYTES = 24, 36
PROTOCOL_UDP: Final = 17
ERROR_S: Final = 30


class GatewayService:
    """Forwards UDP ports to who asks.

    Args:
        forwarding: The ports.
        now: When it starts, in seconds.

    Attributes:
        speaks_pcp: Whether it knows PCP.
        speaks_nat_pmp: Whether it knows NAT-PMP.
        is_silent: Whether it answers nothing.
        refusal: The result of every request for a port; 0 where it serves.
        lifetime_s_max: For how long it forwards a port at most.
        counts: How many requests there were of each kind: `map`, `delete`, `announce`, `address`.
    """

    def __init__(self, forwarding: Forwarding, *, now: float) -> None:
        self.speaks_pcp = True
        self.speaks_nat_pmp = True
        self.is_silent = False
        self.refusal = SUCCESS
        self.lifetime_s_max = LIFETIME_S_MAX
        self.counts: Counter[str] = Counter()
        self._forwarding = forwarding
        self._started_at = now
        self._nonces: dict[Endpoint, bytes] = {}

    def restart(self, *, now: float) -> None:
        """Forget everything, and start the clock again."""
        self._forwarding.clear()
        self._nonces.clear()
        self._started_at = now

    def answer(self, data: bytes, source: Endpoint, *, now: float) -> bytes | None:
        """Answer a request of somebody within; None for what is none."""
        if self.is_silent or len(data) < 2 or data[1] & RESPONSE:  # noqa: PLR2004 - version and opcode
            return None
        if data[0] == PCP_VERSION and self.speaks_pcp:
            return self._answer_pcp(data, source, now)
        if not self.speaks_nat_pmp:
            return None
        epoch_s = int(now - self._started_at)
        if data[0] != 0:
            return struct.pack("!BBHI", 0, RESPONSE, UNSUPPORTED_VERSION, epoch_s)
        return self._answer_nat_pmp(data, source, epoch_s, now)

    # --- NAT-PMP ---

    def _answer_nat_pmp(
        self, data: bytes, source: Endpoint, epoch_s: int, now: float
    ) -> bytes | None:
        if data[1] == 0:
            self.counts["address"] += 1
            host = IPv6Address(f"::ffff:{self._forwarding.address}").packed[-4:]
            return struct.pack("!BBHI", 0, RESPONSE, SUCCESS, epoch_s) + host
        if data[1] != 1 or len(data) != 12:  # noqa: PLR2004 - the one request for UDP, RFC 6886, 3.3
            opcode = RESPONSE | data[1]
            return struct.pack("!BBHI", 0, opcode, NAT_PMP_UNSUPPORTED_OPCODE, epoch_s)
        internal_port, wanted, lifetime_s = struct.unpack_from("!HHI", data, 4)
        result, external_port, granted_s = self._map(
            (source[0], internal_port), wanted, lifetime_s, NAT_PMP_NO_RESOURCES, now
        )
        header = struct.pack("!BBHI", 0, RESPONSE | 1, result, epoch_s)
        return header + struct.pack("!HHI", internal_port, external_port, granted_s)

    # --- PCP ---

    def _answer_pcp(self, data: bytes, source: Endpoint, now: float) -> bytes:
        body = data[PCP_HEADER_BYTES:]
        opcode = data[1]
        result, granted_s = PCP_UNSUPPORTED_OPCODE, ERROR_S
        if len(data) < PCP_HEADER_BYTES or len(data) % 4:
            result = PCP_MALFORMED
        elif IPv6Address(data[8:PCP_HEADER_BYTES]) != IPv6Address(f"::ffff:{source[0]}"):
            result = PCP_ADDRESS_MISMATCH
        elif opcode == PCP_ANNOUNCE:
            self.counts["announce"] += 1
            result, granted_s = SUCCESS, 0
        elif opcode == PCP_MAP and len(body) < PCP_MAP_BYTES:
            result = PCP_MALFORMED
        elif opcode == PCP_MAP:
            lifetime_s = int.from_bytes(data[4:8], "big")
            result, granted_s, body = self._map_pcp(body, source[0], lifetime_s, now)
        epoch_s = int(now - self._started_at)
        header = (PCP_VERSION, RESPONSE | opcode, 0, result, granted_s, epoch_s)
        return struct.pack("!BBBBII12x", *header) + body

    def _map_pcp(
        self, body: bytes, host: str, lifetime_s: int, now: float
    ) -> tuple[int, int, bytes]:
        nonce, protocol, internal_port, wanted = struct.unpack_from("!12sB3xHH", body)
        internal = (host, internal_port)
        if protocol != PROTOCOL_UDP:
            return PCP_UNSUPPORTED_PROTOCOL, ERROR_S, body
        known = self._forwarding.find(Protocol.UDP, internal, now)
        if known is not None and self._nonces.get(internal, nonce) != nonce:
            return NOT_AUTHORIZED, int(known.ends_at - now), body
        result, external_port, granted_s = self._map(
            internal, wanted, lifetime_s, PCP_NO_RESOURCES, now
        )
        if result:
            return result, ERROR_S, body
        self._nonces[internal] = nonce
        if lifetime_s == 0:
            return SUCCESS, 0, body
        external = IPv6Address(f"::ffff:{self._forwarding.address}").packed
        given = (nonce, protocol, internal_port, external_port, external)
        return SUCCESS, granted_s, struct.pack("!12sB3xHH16s", *given)

    def _map(
        self, internal: Endpoint, wanted: int, lifetime_s: int, no_resources: int, now: float
    ) -> tuple[int, int, int]:
        """Forward a port or no longer: the result, the port outside, and for how long."""
        self.counts["map" if lifetime_s else "delete"] += 1
        if self.refusal:
            return self.refusal, 0, 0
        if lifetime_s == 0:
            self._forwarding.close(Protocol.UDP, internal)
            return SUCCESS, 0, 0
        granted_s = min(lifetime_s, self.lifetime_s_max)
        forward = self._forwarding.open(
            Protocol.UDP, internal, wanted, lifetime_s=granted_s, now=now
        )
        return (SUCCESS, forward.port, granted_s) if forward is not None else (no_resources, 0, 0)
