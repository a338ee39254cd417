"""The socket: all interfaces, one, IPv6; runs of datagrams, and a system that takes no more."""

import asyncio
import errno
import random
import socket
from collections.abc import Sequence
from typing import Any

import pytest

from adapters.quic.socket import Datagram, RawSocket, open_loop_socket
from domain.errors import NetworkError
from domain.limits import RECEIVE_BATCH_MAX
from tests.adapters.quic.environment import network
from tests.contracts.connected_peers import (
    TEST_S_MAX,
    connect,
    device,
    receive_count,
    round_trips,
    running,
    send_all,
)


async def test_a_port_in_use_is_a_network_error() -> None:
    bob = network(device(2))
    async with running(bob):
        again = network(device(3), listen=bob.addresses[0])
        with pytest.raises(NetworkError, match="cannot listen"):
            await again.start()


@pytest.mark.parametrize("listen", ["nonsense", "host.invalid:1", "203.0.113.1:1"])
async def test_an_address_that_is_not_ours_is_a_network_error(listen: str) -> None:
    with pytest.raises(NetworkError, match="cannot listen"):
        await network(device(2), listen=listen).start()


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
async def test_ipv6_works() -> None:
    alice, bob = network(device(1), listen="[::1]:0"), network(device(2), listen="[::1]:0")
    async with running(alice, bob):
        near, far = await connect(alice, bob, device(2))
        assert near.remote_address == bob.addresses[0]
        assert near.remote_address.startswith("[::1]:")
        await round_trips(near, far)


async def test_all_interfaces_are_reached_over_loopback() -> None:
    alice, bob = network(device(1), listen="[::]:0"), network(device(2), listen="[::]:0")
    async with running(alice, bob):
        port = bob.addresses[0].rpartition(":")[2]
        assert f"127.0.0.1:{port}" in bob.addresses
        hosts = ["127.0.0.1"] + (["[::1]"] if has_ipv6() else [])
        for host in hosts:
            accepted, dialled = await asyncio.gather(
                bob.accept(), alice.dial(device(2).peer, [f"{host}:{port}"])
            )
            assert dialled.remote_address == f"{host}:{port}"
            assert accepted.remote_address.startswith(host)


async def test_loopback_stays_on_loopback() -> None:
    bob = network(device(2))
    async with running(bob):
        assert [address.rpartition(":")[0] for address in bob.addresses] == ["127.0.0.1"]


async def test_the_event_loops_own_sockets_do_as_well() -> None:
    alice, bob = (network(device(number), open_socket=open_loop_socket) for number in (1, 2))
    async with running(alice, bob):
        near, far = await connect(alice, bob, device(2))
        messages = [bytes([number]) * 50_000 for number in range(20)]
        async with asyncio.TaskGroup() as tasks:
            received = tasks.create_task(receive_count(far.control, 20))
            tasks.create_task(send_all(near.control, messages))
        assert received.result() == messages


class FullSocket(socket.socket):
    """A socket that takes nothing until it is told to."""

    is_full = True
    can_segment = False

    def sendto(self, *arguments: Any) -> int:  # noqa: ANN401 - as in socket
        if self.is_full:
            raise BlockingIOError
        return super().sendto(*arguments)

    def sendmsg(self, *arguments: Any) -> int:  # noqa: ANN401 - as in socket
        if not self.can_segment:
            raise OSError(errno.EIO, "no offload here")
        return super().sendmsg(*arguments)


async def test_a_full_socket_loses_nothing_and_keeps_the_order() -> None:
    loop = asyncio.get_running_loop()
    received: list[bytes] = []
    done = asyncio.Event()

    def note(batch: Sequence[Datagram]) -> None:
        received.extend(data for data, _ in batch)
        if len(received) == len(datagrams):
            done.set()

    datagrams = [bytes([number]) * (100 + number % 3) for number in range(200)]
    sender, receiver = (
        FullSocket(socket.AF_INET, socket.SOCK_DGRAM),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    )
    for each in (sender, receiver):
        each.setblocking(False)
        each.bind(("127.0.0.1", 0))
    sending, receiving = RawSocket(loop, sender, note), RawSocket(loop, receiver, note)
    try:
        for start in range(0, 200, 10):
            sending.send(datagrams[start : start + 10], receiving.local)
        assert received == []
        sender.is_full = False
        async with asyncio.timeout(TEST_S_MAX):
            await done.wait()
        assert received == datagrams
    finally:
        sending.close()
        receiving.close()


def bound_socket() -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.setblocking(False)
    bound.bind(("127.0.0.1", 0))
    return bound


async def test_runs_of_datagrams_arrive_one_by_one() -> None:
    loop = asyncio.get_running_loop()
    received: list[bytes] = []
    done = asyncio.Event()

    def note(batch: Sequence[Datagram]) -> None:
        received.extend(data for data, _ in batch)
        if len(received) == len(datagrams):
            done.set()

    draw = random.Random(6)
    datagrams = [
        draw.randbytes(size)
        for size in [1_200] * 70 + [300, 1_200, 1_200, 5, 5, 1_400, 1] + [700] * 10
    ]
    sending, receiving = (RawSocket(loop, bound_socket(), note) for _ in range(2))
    try:
        sending.send(datagrams, receiving.local)
        async with asyncio.timeout(TEST_S_MAX):
            await done.wait()
        assert received == datagrams
    finally:
        sending.close()
        receiving.close()


async def test_a_socket_tells_whether_more_has_arrived_than_was_read() -> None:
    loop = asyncio.get_running_loop()
    behind: list[bool] = []
    done = asyncio.Event()

    def note(batch: Sequence[Datagram]) -> None:
        behind.append(receiving.is_behind)
        if batch[-1][0] == b"last":
            done.set()

    sending, receiving = (RawSocket(loop, bound_socket(), note) for _ in range(2))
    try:
        for datagram in [b"first"] * RECEIVE_BATCH_MAX + [b"last"]:
            sending.send([datagram], receiving.local)
        async with asyncio.timeout(TEST_S_MAX):
            await done.wait()
        assert behind == [True, False]
    finally:
        sending.close()
        receiving.close()
