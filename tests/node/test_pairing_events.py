"""Where a device that asks to be let in stands is told as it changes."""

import asyncio

import pytest

from domain.errors import InviteError
from domain.events import Event, JoinRequested, PairingChanged
from domain.pairing import PairingState
from node import Document, Node
from node.simulation import NodeNetwork


async def states(node: Node, document: Document, until: PairingState) -> list[PairingState]:
    """The states of whoever asks from now on, up to that one."""
    seen: list[PairingState] = []

    def is_wanted(event: Event) -> bool:
        return isinstance(event, PairingChanged) and event.document == document.id

    async for event in node.listen(is_wanted):
        assert isinstance(event, PairingChanged)
        seen.append(event.state)
        if event.state is until:
            break
    return seen


async def test_who_is_let_in_at_once_is_pairing_then_paired(culm_network: NodeNetwork) -> None:
    async with culm_network.node("ada") as ada, culm_network.node("bob") as bob:
        document = await ada.create("notes")
        told = asyncio.create_task(states(ada, document, PairingState.PAIRED))
        await bob.join(await document.invite())
        assert await told == [PairingState.PAIRING, PairingState.PAIRED]


async def test_who_has_a_code_to_compare_waits_first(culm_network: NodeNetwork) -> None:
    async with culm_network.node("ada") as ada, culm_network.node("bob") as bob:
        document = await ada.create("notes")
        told = asyncio.create_task(states(ada, document, PairingState.PAIRED))
        joining = asyncio.create_task(bob.join(await document.invite(confirm=True)))
        request = await anext(aiter(ada.listen(lambda event: isinstance(event, JoinRequested))))
        assert isinstance(request, JoinRequested)
        await document.confirm(request.code)
        await joining
        assert await told == [PairingState.WAITING, PairingState.PAIRING, PairingState.PAIRED]


async def test_who_comes_with_a_revoked_invite_is_refused(culm_network: NodeNetwork) -> None:
    async with culm_network.node("ada") as ada, culm_network.node("bob") as bob:
        document = await ada.create("notes")
        invite = await document.invite()
        await document.revoke(invite)
        told = asyncio.create_task(states(ada, document, PairingState.REFUSED))
        with pytest.raises(InviteError, match="revoked"):
            await bob.join(invite)
        assert await told == [PairingState.REFUSED]
