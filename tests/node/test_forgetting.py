"""Documents that are founded and forgotten while the caller gives up, another does the same, or the node closes."""

import asyncio

import pytest

from domain.errors import CulmError, NodeClosedError, UnknownDocumentError, UnsavedEditsError
from domain.events import DocumentFailed
from node import Document
from node.cli.execution import STOP_S_MAX
from node.simulation import NodeNetwork

STEPS = (0, 1, 2, 3, 5, 8, 13, 21, 34)
"""After so many turns of the event loop something comes between."""


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def write(document: Document, word: str) -> None:
    document.array("words").append(word)


def words(document: Document) -> list[str]:
    return [str(word) for word in document.array("words")]


@pytest.mark.parametrize("count", STEPS)
async def test_forgetting_that_is_given_up_leaves_the_document_whole_or_gone(
    culm_network: NodeNetwork, count: int
) -> None:
    async with culm_network.node("ada") as ada:
        going, staying = await ada.create("going"), await ada.create("staying")
        write(going, "old")
        forgetting = asyncio.create_task(ada.forget(going.id))
        await turns(count)
        forgetting.cancel()
        await asyncio.wait({forgetting})
        write(staying, "kept")
    async with culm_network.node("ada") as ada:
        assert words(await ada.document(staying.id)) == ["kept"]
        for info in ada.documents():
            if info.id == going.id:
                assert words(await ada.document(going.id)) == ["old"]


async def test_forgetting_that_is_given_up_is_done_all_the_same(culm_network: NodeNetwork) -> None:
    async with culm_network.node("ada") as ada:
        document = await ada.create("notes")
        write(document, "old")
        forgetting = asyncio.create_task(ada.forget(document.id))
        await turns(1)
        forgetting.cancel()
        await asyncio.sleep(1)
        assert ada.documents() == []


async def test_of_two_who_forget_a_document_the_second_hears_that_it_is_gone(
    culm_network: NodeNetwork,
) -> None:
    async with culm_network.node("ada") as ada:
        document = await ada.create("notes")
        write(document, "old")
        first, second = await asyncio.gather(
            ada.forget(document.id), ada.forget(document.id), return_exceptions=True
        )
        assert {type(first), type(second)} == {type(None), UnknownDocumentError}
        assert ada.documents() == []


@pytest.mark.parametrize("count", STEPS)
async def test_document_that_is_founded_while_the_node_closes_is_not_given(
    culm_network: NodeNetwork, count: int
) -> None:
    async with culm_network.node("ada") as ada:
        write(await ada.create("notes"), "what closing waits for")
        founding = asyncio.create_task(ada.create("late"))
        await turns(count)
    with pytest.raises(NodeClosedError):
        await founding


@pytest.mark.parametrize("count", STEPS)
async def test_joining_ends_in_a_typed_error_when_the_node_closes(
    culm_network: NodeNetwork, count: int
) -> None:
    async with culm_network.node("ada") as ada:
        invite = await (await ada.create("notes")).invite()
        async with culm_network.node("bob") as bob:
            joining = asyncio.create_task(bob.join(invite))
            await turns(count)
        with pytest.raises(CulmError):
            await joining


async def test_one_after_the_other_joins_a_document(culm_network: NodeNetwork) -> None:
    async with culm_network.node("ada") as ada:
        document = (await ada.create("notes")).id
        inside: list[int] = []

        async def join() -> None:
            async with ada._documents.joining(document):
                inside.append(1)
                assert len(inside) == 1
                await turns(3)
                inside.pop()

        first, second = asyncio.create_task(join()), asyncio.create_task(join())
        await first
        await asyncio.gather(second, join())


async def test_failed_document_keeps_no_other_from_being_saved(culm_network: NodeNetwork) -> None:
    network = culm_network
    async with network.node("ada") as ada, network.node("bob") as bob:
        founded = await ada.create("notes")
        copy = await bob.join(await founded.invite())
        await copy.synced()
        other = await bob.create("other")
        body, told = copy.text("body"), copy.events()
        network.partition("bob")
        body += "void"
        await copy.durable()
        for index in range(20):
            network._now.find("bob").machine.disk.damage_operation(copy.id, index)
        await founded.remove(bob.peer_id)
        network.heal()
        async for event in told:
            if isinstance(event, DocumentFailed):
                break
        body += "never saved"
        write(other, "kept")
        with pytest.raises(UnsavedEditsError, match="notes"):
            await network.restart("bob")
        again = await network.restart("bob")
        assert words(await again.document(other.id)) == ["kept"]


async def test_node_with_many_documents_closes_in_the_time_that_it_has(
    culm_network: NodeNetwork,
) -> None:
    network, loop = culm_network, asyncio.get_running_loop()
    async with network.node("ada") as ada:
        documents = [await ada.create(f"notes {number}") for number in range(5)]
        network._now.find("ada").machine.disk.write_s = (60.0, 60.0)
        for document in documents:
            write(document, "never saved")
        asked_at = loop.time()
        with pytest.raises(UnsavedEditsError, match=r"notes 0.*notes 4"):
            await network.restart("ada")
        assert loop.time() - asked_at < STOP_S_MAX
