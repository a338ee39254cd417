"""Documents that cannot go on, or do not do what they are asked: nothing else suffers from it."""

import asyncio
import copy
import gc
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from pycrdt import Doc

from domain.errors import (
    NodeClosedError,
    NotPermittedError,
    StorageCorruptError,
    StorageError,
    UnsavedEditsError,
)
from domain.identifiers import DocumentId
from node import Document, Node, NodeConfig
from node.simulation import NodeNetwork
from tests.simulation.restoring import restored, until


async def fail(network: NodeNetwork, name: str, document: Document) -> None:
    """Let a document end in the middle: what is on disk is damaged, and has to be read again; an edit waits."""
    text = document.text("body")
    network._now.find(name).machine.disk.damage_operation(document.id, 1)
    document.map("more")["within"] = Doc()  # is refused, so that everything is built anew
    with pytest.raises(NodeClosedError, match="damaged on disk"):
        await document.durable()
    text.insert(0, "unsaved")


async def test_a_document_that_cannot_go_on_keeps_no_other_from_being_saved(
    culm_network: NodeNetwork,
) -> None:
    async with culm_network.node("ada") as node:
        bad, good = await node.create("bad"), await node.create("good")
        await fail(culm_network, "ada", bad)
        good.text("body").insert(0, "precious")
        with pytest.raises(UnsavedEditsError, match="bad: the document cannot go on"):
            await culm_network.restart("ada")
        again = await culm_network.restart("ada")
        assert str((await again.document(good.id)).text("body")) == "precious"
        with pytest.raises(StorageCorruptError):
            await again.document(bad.id)


async def test_a_document_that_cannot_go_on_can_be_forgotten(culm_network: NodeNetwork) -> None:
    async with culm_network.node("ada") as node:
        document = await node.create("bad")
        await fail(culm_network, "ada", document)
        await node.forget(document.id)
        assert node.documents() == []
    async with culm_network.node("ada") as node:
        assert node.documents() == []
        assert not node.damaged_documents()


async def test_damage_that_keeps_a_device_from_going_on_in_new_logs_is_told(
    culm_network: NodeNetwork,
) -> None:
    async with culm_network.node("ada") as ada, culm_network.node("bob") as bob:
        original = await ada.create("notes")
        host, replica = await restored(
            culm_network, original, await bob.join(await original.invite())
        )
        replica.text("body").insert(0, "fork ")
        await replica.durable()
        host.machine.disk.damage_operation(original.id, 1)
        culm_network.heal()
        with pytest.raises(NodeClosedError, match="damaged on disk"):
            await until(replica, lambda each: "lost" in str(each.text("body")))


async def test_a_document_that_cannot_be_read_keeps_no_other_from_being_opened(
    culm_network: NodeNetwork,
) -> None:
    async with culm_network.node("ada") as node:
        made = {(await node.create(name)).id for name in ("one", "two", "three")}
    disk = culm_network._now.find("ada").machine.disk
    damaged: set[DocumentId] = set()
    for number in count():
        disk.fail_read(StorageError("disk I/O error"), after_reads=number)
        try:
            node = await culm_network.restart("ada")
        except StorageError:
            continue  # what is read then belongs to no document
        lacking = set(node.damaged_documents())
        assert {each.id for each in node.documents()} == made - lacking
        if not lacking:
            break
        assert len(lacking) == 1
        damaged |= lacking
    assert damaged == made


async def test_joining_a_document_that_is_damaged_writes_nothing_over_it(
    culm_network: NodeNetwork,
) -> None:
    async with culm_network.node("ada") as ada:
        original = await ada.create("notes")
        async with culm_network.node("bob") as bob:
            await (await bob.join(await original.invite())).synced()
        disk = culm_network._now.find("bob").machine.disk
        disk.damage_snapshot(original.id)
        disk.damage_operation(original.id, 2)
        before = copy.deepcopy((disk.content.records, disk.content.document_records))
        async with culm_network.node("bob") as bob:
            with pytest.raises(StorageCorruptError, match="cannot be opened"):
                await bob.join(await original.invite())
            assert (disk.content.records, disk.content.document_records) == before
            await bob.forget(original.id)
            await (await bob.join(await original.invite())).synced()


async def test_what_is_not_permitted_and_waited_for_no_longer_leaves_no_error_behind(
    tmp_path: Path,
) -> None:
    left: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: left.append(context))
    async with Node.open(tmp_path, NodeConfig(listen="127.0.0.1:0")) as node:
        document = await node.create("notes")
        leaving = asyncio.create_task(document.leave())
        while not document._owner._orders:  # noqa: ASYNC110 - it is a turn of the loop
            await asyncio.sleep(0)
        leaving.cancel()
        with pytest.raises(NotPermittedError):
            await document.leave()
        del leaving  # which holds what it waited for
        gc.collect()
    assert left == []
