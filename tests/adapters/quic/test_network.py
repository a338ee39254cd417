"""QUIC passes the contract of every network, on the loopback interface."""

import pytest

from domain.identity import DeviceKey
from domain.ports.network import NetworkInterface
from tests.adapters.quic.environment import network
from tests.contracts.network_interface import NetworkFactory, NetworkInterfaceContract


class TestQuicNetwork(NetworkInterfaceContract):
    @pytest.fixture
    def open_network(self) -> NetworkFactory:
        return open_quic


def open_quic(key: DeviceKey, *, network_id: str = "contract") -> NetworkInterface:
    return network(key, network_id=network_id)
