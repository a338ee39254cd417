"""Answers of routers, written down as the RFCs have them."""

import struct
from ipaddress import IPv6Address

from adapters.gateway import natpmp, pcp


def of_pcp(response: pcp.Response, options: bytes = b"") -> bytes:
    """RFC 6887, 7.2 and 11.1."""
    data = struct.pack(
        "!BBBBII12x",
        2,
        0x80 | response.opcode,
        0,
        response.result,
        response.lifetime_s,
        response.epoch_s,
    )
    mapped = response.mapped
    if mapped is not None:
        host = mapped.external.host
        external = IPv6Address(host if ":" in host else f"::ffff:{host}").packed
        data += struct.pack(
            "!12sB3xHH16s",
            mapped.nonce,
            mapped.protocol,
            mapped.internal_port,
            mapped.external.port,
            external,
        )
    return data + options


def of_nat_pmp(response: natpmp.Response) -> bytes:
    """RFC 6886, 3.2 and 3.3."""
    data = struct.pack("!BBHI", 0, 128 | response.opcode, response.result, response.epoch_s)
    if response.result:
        return data
    if response.opcode == natpmp.ADDRESS:
        return data + bytes(map(int, response.host.split(".")))
    ports = (response.internal_port, response.external_port)
    return data + struct.pack("!HHI", *ports, response.lifetime_s)
