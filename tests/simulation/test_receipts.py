"""What `durable("peers:n")` says where counts of operations alone would deceive."""

import asyncio
import copy

import pytest

from node.simulation import NodeNetwork
from tests.simulation.restoring import WAIT_S, put_back, text, until


@pytest.mark.parametrize("lost", [1, 2, 3])
@pytest.mark.parametrize("written", [1, 2, 3])
def test_restored_device_says_of_nothing_that_a_peer_has_it_before_the_peer_has_it(
    seed: int, lost: int, written: int
) -> None:
    """The peer has other operations in the places of those that are written first after the backup."""
    network = NodeNetwork(seed)

    async def scenario() -> None:
        network.set_link(delay_s=0.02, jitter_s=0.1)
        async with network.node("alice") as alice, network.node("bob") as bob:
            document = await alice.create("notes")
            copied = await bob.join(await document.invite())
            copied.text("body").insert(0, "begun ")
            await copied.durable("peers:1")
            host = network._now.find("bob")
            backup = copy.deepcopy(host.machine.disk.content)
            for number in range(lost):
                copied.text("body").insert(0, f"lost{number} ")
                await copied.durable("peers:1")
            restored = await put_back(network, host, backup, document.id)
            receipts = []
            for number in range(written):
                restored.text("body").insert(0, f"new{number} ")
                await restored.durable()
                receipts.append(asyncio.create_task(restored.durable("peers:1")))
                await asyncio.sleep(0.1)
            network.heal()
            for number, receipt in enumerate(receipts):
                async with asyncio.timeout(WAIT_S):
                    await receipt
                assert f"new{number}" in text(document)
            words = {f"new{number}" for number in range(written)}
            words |= {"begun", *(f"lost{number}" for number in range(lost))}
            await until(restored, lambda each: set(text(each).split()) == words)
            await network.converged()

    network.run(scenario)
