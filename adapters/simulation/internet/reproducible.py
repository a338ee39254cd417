"""Makes aioquic and aioice draw from a seed and read virtual time, so that they send the same bytes every time.

They take randomness and dates from the system wherever they need some. Here, and only here, the names by which their
modules do so are given another meaning, for as long as a simulation lasts:

- `os.urandom`, in each module that draws: connection ids, hello randoms, transaction ids, paths, retry tokens.
- X25519 keys and the key of retry tokens, which OpenSSL would draw. (Our engine offers no other group.)
- The date against which certificates are checked, and the time by which aioice refreshes channels.

That streams are served in an order that does not depend on where they lie in memory, that a timer fires past its time
and not at it, and that certificates are always the same, production sees to.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any, Final

import aioice.turn
import aioice.utils
from aioquic import tls
from aioquic.quic import connection, packet, retry
from cryptography.hazmat.primitives.asymmetric import x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from adapters.simulation.environment import EPOCH_US, SimulatedEntropy
from adapters.simulation.errors import SimulationError

X25519_KEY_BYTES: Final = 32
BITS_PER_BYTE: Final = 8
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=EPOCH_US)

_active: Final[list[int]] = []


@contextmanager
def reproducible_transport(seed: int, now: Callable[[], float]) -> Iterator[None]:
    """Let aioquic and aioice follow a seed in the block, and nothing but the system after it.

    Args:
        seed: What their randomness follows.
        now: Virtual seconds.

    Raises:
        SimulationError: Another simulation does so already: their modules are there only once in a process.
    """
    if _active:
        raise SimulationError(f"the simulation with seed {_active[0]} is still running")
    entropy = SimulatedEntropy(seed, "transport")
    seeded_os = _Overlay(os, urandom=entropy.draw)
    _active.append(seed)
    try:
        with ExitStack() as stack:
            for module in (tls, connection, packet, retry, aioice.utils):
                stack.enter_context(_replaced(module, "os", seeded_os))
            stack.enter_context(_replaced(tls, "x25519", _seeded_x25519(entropy)))
            stack.enter_context(_replaced(tls, "utcnow", lambda: _EPOCH + _seconds(now())))
            stack.enter_context(_replaced(retry, "AESGCM", _seeded_aes(entropy)))
            stack.enter_context(_replaced(aioice.turn, "time", _Overlay(time, time=now)))
            yield
    finally:
        _active.clear()


class _Overlay:
    """A module, of which some names mean something else."""

    def __init__(self, module: ModuleType, **names: object) -> None:
        self._module = module
        vars(self).update(names)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the module has
        return getattr(self._module, name)


def _seeded_x25519(entropy: SimulatedEntropy) -> _Overlay:
    class Key:
        @staticmethod
        def generate() -> x25519.X25519PrivateKey:
            drawn = entropy.draw(X25519_KEY_BYTES)
            return x25519.X25519PrivateKey.from_private_bytes(drawn)

    return _Overlay(x25519, X25519PrivateKey=Key)


def _seeded_aes(entropy: SimulatedEntropy) -> type[AESGCM]:
    # AESGCM can't be derived from: calling this makes an ordinary one.
    class Seeded:
        @staticmethod
        def generate_key(bit_length: int) -> bytes:
            return entropy.draw(bit_length // BITS_PER_BYTE)

        def __new__(cls, key: bytes) -> AESGCM:  # type: ignore[misc]
            return AESGCM(key)

    return Seeded  # type: ignore[return-value]


def _seconds(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


@contextmanager
def _replaced(module: ModuleType, name: str, meaning: object) -> Iterator[None]:
    """Give a name of a module another meaning in the block."""
    names = vars(module)
    before = names[name]
    names[name] = meaning
    try:
        yield
    finally:
        names[name] = before
