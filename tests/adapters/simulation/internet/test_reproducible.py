"""The same seed sends the same bytes, in every process; and what was changed for that is put back."""

import os
import subprocess
import sys
from pathlib import Path

import aioice.turn
import aioice.utils
import pytest
from aioquic import tls
from aioquic.quic import connection, packet, retry

from adapters.simulation.errors import SimulationError
from adapters.simulation.internet.reproducible import reproducible_transport
from adapters.simulation.loop import run
from tests.adapters.simulation.internet.whole_nodes import Trace, converse

ROOT = Path(__file__).parents[4]
MODULES = (tls, connection, packet, retry, aioice.utils, aioice.turn)


def converse_elsewhere(seed: int, hash_seed: str) -> str:
    """The trace of whole nodes, from a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.adapters.simulation.internet.whole_nodes", str(seed)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


def test_whole_nodes_send_the_same_datagrams_in_two_processes(seed: int) -> None:
    first = converse_elsewhere(seed, "1")
    assert first == converse_elsewhere(seed, "2")
    assert "'delivered'" in first


def test_another_seed_sends_other_datagrams(seed: int) -> None:
    def trace(seed: int) -> Trace:
        return run(converse, seed)

    assert trace(seed).digest.digest() != trace(seed + 1).digest.digest()


def test_what_was_changed_is_put_back() -> None:
    def names() -> list[dict[str, object]]:
        return [dict(vars(module)) for module in MODULES]

    def fail() -> None:
        with reproducible_transport(1, lambda: 0.0):
            assert names() != before
            raise ValueError("enough")

    before = names()
    with pytest.raises(ValueError, match="enough"):
        fail()
    assert names() == before


def test_what_is_drawn_follows_the_seed() -> None:
    def draw(seed: int) -> tuple[bytes, bytes, bytes]:
        with reproducible_transport(seed, lambda: 0.0):
            key = vars(tls)["x25519"].X25519PrivateKey.generate()
            sealed = retry.QuicRetryTokenHandler().create_token(
                address=("192.0.2.1", 1),
                original_destination_connection_id=b"o",
                retry_source_connection_id=b"r",
                now=0.0,
            )
            return aioice.utils.random_transaction_id(), key.private_bytes_raw(), sealed

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_the_date_follows_the_clock() -> None:
    now = 0.0
    with reproducible_transport(1, lambda: now):
        first = tls.utcnow()
        now = 86_400.0
        assert (tls.utcnow() - first).total_seconds() == 86_400.0


def test_two_simulations_at_once_are_refused() -> None:
    with (
        reproducible_transport(4711, lambda: 0.0),
        pytest.raises(SimulationError, match="4711"),
        reproducible_transport(1, lambda: 0.0),
    ):
        pass
    with reproducible_transport(1, lambda: 0.0):
        pass
