"""QUIC passes the contract of every network, on the loopback interface."""

import asyncio

import pytest

from domain.errors import NetworkError
from domain.identity import DeviceKey
from domain.ports.network import NetworkInterface
from tests.adapters.quic.environment import network
from tests.contracts.connected_peers import device, running
from tests.contracts.network_interface import NetworkFactory, NetworkInterfaceContract


class TestQuicNetwork(NetworkInterfaceContract):
    @pytest.fixture
    def open_network(self) -> NetworkFactory:
        return open_quic


async def test_sockets_beside_ours_reach_each_other_and_not_us() -> None:
    ours = network(device(1))
    with pytest.raises(NetworkError):
        await ours.open_beside(lambda _: None)
    async with running(ours):
        arrived: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        one = await ours.open_beside(lambda batch: arrived.set_result(batch[0][0]))
        other = await ours.open_beside(lambda _: None)
        assert len({one.local[1], other.local[1], ours.endpoint.socket.local[1]}) == 3
        other.send([b"beside"], one.local)
        async with asyncio.timeout(10):
            assert await arrived == b"beside"
        one.close()
        other.close()
        assert not ours.is_closed


def open_quic(key: DeviceKey, *, network_id: str = "contract") -> NetworkInterface:
    return network(key, network_id=network_id)
