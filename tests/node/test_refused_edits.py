"""Edits that no replica would accept: `durable` says so, to each call that was made after them, and not for ever."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from domain.errors import RefusedEditsError
from domain.events import DocumentReloaded, EditsRefused, Event
from node import Document
from node.simulation import NodeNetwork
from tests.node.reconnecting import two


@pytest.fixture
def network(seed: int) -> NodeNetwork:
    return NodeNetwork(seed, virtual_s_max=86_400.0)


def edit_within_a_character(document: Document) -> None:
    """What yrs makes of that can be placed nowhere."""
    document.text("body").insert(1, "x")


async def until_taken_back(document: Document, events: AsyncIterator[Event]) -> None:
    async for event in events:
        if isinstance(event, DocumentReloaded):
            break
    assert str(document.text("body")) == "é"


async def with_character(network: NodeNetwork, document: Document) -> None:
    document.text("body").insert(0, "é")
    await document.durable()
    await network.converged()


def test_each_call_tells_of_what_was_refused_until_it_was_made(network: NodeNetwork) -> None:
    async def scenario() -> None:
        async with two(network) as (_, _, document, copy):
            await with_character(network, document)
            network.partition("alice", "bob")
            await copy.describe_device("something that alice has not got")
            events = copy.events()
            edit_within_a_character(copy)
            first = asyncio.create_task(copy.durable("peers:1"))
            await until_taken_back(copy, events)
            copy.text("body").insert(0, "good ")
            with pytest.raises(RefusedEditsError, match="1 edits"):  # `first` has not told it yet
                await copy.durable()
            await copy.durable()
            copy.text("body").insert(6, "x")
            with pytest.raises(RefusedEditsError, match="1 edits"):
                await copy.durable()
            network.heal()
            with pytest.raises(RefusedEditsError, match="1 edits"):
                await first
            await copy.durable()

    network.run(scenario)


def test_what_is_edited_upon_a_refused_edit_is_said_to_be_refused(network: NodeNetwork) -> None:
    async def scenario() -> None:
        async with two(network) as (_, bob, document, copy):
            await with_character(network, document)
            await document.set_role(bob.peer_id, "read")
            await copy.wait_until(lambda: not copy.may_write)
            events = copy.events()
            copy.text("body").insert(0, "refused ")
            async for event in events:
                if isinstance(event, EditsRefused):
                    break
            copy.text("body").insert(0, "late ")
            with pytest.raises(RefusedEditsError, match="2 edits"):
                await copy.durable()
            await copy.durable()
            assert str(copy.text("body")) == "é"

    network.run(scenario)
