"""Two nodes on real sockets, and somebody between them who cuts the link: they find each other, and lose nothing.

The full measure is fifty cuts: `CULM_TEST_CUTS=50 make test ARGS=tests/node/test_cut_link.py`.
"""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, Final, cast

from domain.connectivity.close_codes import CloseCode
from node import Document, Node, NodeConfig

CUTS: Final = int(os.environ.get("CULM_TEST_CUTS", "10"))
CUT_S_MAX: Final = 0.4
WAIT_S: Final = 60.0
LOOPBACK: Final = NodeConfig(listen="127.0.0.1:0")


class Side(asyncio.DatagramProtocol):
    """The socket of the proxy that one node sees."""

    def __init__(self, proxy: "Proxy") -> None:
        self.proxy = proxy
        self.node: Any = None
        self.other: Side
        self.transport: asyncio.DatagramTransport

    def itself(self) -> "Side":
        return self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self.node = addr
        if not self.proxy.is_cut and self.other.node is not None:
            self.other.transport.sendto(data, self.other.node)
            self.proxy.passed += 1

    @property
    def address(self) -> str:
        host, port = self.transport.get_extra_info("sockname")
        return f"{host}:{port}"


class Proxy:
    """Passes datagrams on between two nodes, or does not."""

    def __init__(self) -> None:
        self.is_cut = False
        self.passed = 0
        self.near, self.far = Side(self), Side(self)
        self.near.other, self.far.other = self.far, self.near


@asynccontextmanager
async def proxy_to(address: str) -> AsyncIterator[Proxy]:
    """Open a proxy whose near side stands for the node at an address."""
    loop = asyncio.get_running_loop()
    proxy = Proxy()
    for side in (proxy.near, proxy.far):
        await loop.create_datagram_endpoint(side.itself, local_addr=("127.0.0.1", 0))
    host, _, port = address.rpartition(":")
    proxy.far.node = (host, int(port))
    try:
        yield proxy
    finally:
        proxy.near.transport.close()
        proxy.far.transport.close()


def words(document: Document) -> Counter[str]:
    return Counter(str(document.text("body")).split())


async def until_equal(one: Document, other: Document, expected: Counter[str]) -> None:
    async with asyncio.timeout(WAIT_S):
        await one.wait_until(lambda: words(one) == expected)
        await other.wait_until(lambda: words(other) == expected)


def reset(node: Node) -> None:
    """Let a node lose its connection: what it says at that is lost as well, so the other still has it."""
    for link in node.peers.links():
        link.connection.close(CloseCode.TIMED_OUT, "lost")


async def test_a_link_that_is_cut_again_and_again_loses_nothing(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    async with (
        Node.open(tmp_path / "alice", LOOPBACK) as alice,
        Node.open(tmp_path / "bob", LOOPBACK) as bob,
        proxy_to(alice.addresses[0]) as proxy,
    ):
        document = await alice.create("notes")
        invite = await document.invite(addresses=(proxy.near.address,))
        copy = await bob.join(invite)
        expected: Counter[str] = Counter()
        for cut in range(CUTS):
            proxy.is_cut = True
            for who, replica in (("a", document), ("b", copy)):
                replica.text("body").insert(0, f"{who}{cut} ")
                await replica.durable()
                expected[f"{who}{cut}"] += 1
            for node in (alice, bob):
                if random.random() < 0.3:
                    reset(node)
            await asyncio.sleep(random.random() * CUT_S_MAX)  # the length of the cut, not a wait
            proxy.is_cut = False
            if random.random() < 0.7:
                await until_equal(document, copy, expected)
        await until_equal(document, copy, expected)
        await document.durable("peers:1")
        await copy.durable("peers:1")
        async with asyncio.timeout(WAIT_S):
            while not is_one_connection(alice, bob):  # noqa: ASYNC110 - nothing tells of both at once
                await asyncio.sleep(0.01)
        assert proxy.passed > CUTS
        assert alice.statistics().security_count == bob.statistics().security_count == 0


def is_one_connection(alice: Node, bob: Node) -> bool:
    ours = [link.connection.binding for link in alice.peers.links()]
    theirs = [link.connection.binding for link in bob.peers.links()]
    return len(ours) == 1 and ours == theirs
