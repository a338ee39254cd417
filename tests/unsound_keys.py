"""Peer ids to which nothing can be sealed, though they look like keys, and one that signs all the same."""

import hashlib
from typing import Final

from nacl.bindings import crypto_scalarmult_ed25519_base_noclamp

from domain.identifiers import PeerId
from domain.identity import DeviceKey, Label
from tests.contracts.small_order import SMALL_ORDER_ED25519

_PRIME: Final = 2**255 - 19
_ORDER: Final = 2**252 + 27742317777372353535851937790883648493


class MixedOrderKey(DeviceKey):
    """A key whose public half has a part of order two; each second signature by it verifies, and it gives those."""

    __slots__ = ("_scalar",)

    def __init__(self, seed: bytes) -> None:
        super().__init__(seed)
        self._scalar = int.from_bytes(hashlib.sha512(seed).digest(), "little") % _ORDER
        self.peer = PeerId(_plus_order_two(_times_base(self._scalar)))

    def sign(self, label: Label, message: bytes) -> bytes:
        return self.sign_operation(label.value + message)

    def sign_operation(self, unsigned_header: bytes) -> bytes:
        for attempt in range(256):
            drawn = hashlib.sha512(self.seed + bytes([attempt]) + unsigned_header).digest()
            once = int.from_bytes(drawn, "little") % _ORDER
            point = _times_base(once)
            hashed = hashlib.sha512(point + self.peer + unsigned_header).digest()
            factor = int.from_bytes(hashed, "little") % _ORDER
            if factor % 2 == 0:  # the part of order two vanishes
                scalar = (once + factor * self._scalar) % _ORDER
                return point + scalar.to_bytes(32, "little")
        raise AssertionError


def _times_base(scalar: int) -> bytes:
    return crypto_scalarmult_ed25519_base_noclamp(scalar.to_bytes(32, "little"))


def _plus_order_two(point: bytes) -> bytes:
    """Add (0, -1): both coordinates change their sign."""
    number = int.from_bytes(point, "little")
    is_odd, y = number >> 255, number % 2**255
    return ((_PRIME - y) | (1 - is_odd) << 255).to_bytes(32, "little")


MIXED: Final = MixedOrderKey(b"\5" * 32)
NO_POINT: Final = PeerId(b"\2" * 32)
UNSOUND: Final = (
    MIXED.peer,
    NO_POINT,
    PeerId(b"\xff" * 32),  # no encoding of a coordinate
    *map(PeerId, SMALL_ORDER_ED25519),
)
