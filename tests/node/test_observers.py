"""Observers of an embedder that fail: what they watch goes on, and the failure is said."""

import asyncio
from functools import partial
from typing import Any

from pycrdt import Doc, Text

from domain.ports.mirror import TextEdit
from node import Document
from node.mirror import BODY, DocumentText
from tests.simulation.test_membership import Circle, play

BUG = ValueError("a bug of the embedder")


def fail(_: object) -> None:
    raise BUG


def caught() -> list[Exception]:
    """Take what would go to the handler of the loop."""
    errors: list[Exception] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: errors.append(context["exception"])
    )
    return errors


def imported() -> bytes:
    doc = Doc[Any](client_id=77)
    text: Text = doc.get(BODY, type=Text)
    text += "imported "
    return doc.get_update()


def shown(document: Document) -> str:
    return str(document.text(BODY))


def has(length: int, document: Document) -> bool:
    return len(shown(document)) == length


def test_failing_observer_is_reported_and_the_document_goes_on(seed: int) -> None:
    async def story(circle: Circle) -> None:
        alice, bob = circle["alice"], circle["bob"]
        errors, watched = caught(), bob.ydoc
        text = bob.text(BODY)
        text.observe(fail)
        for length in (4, 8):
            alice.text(BODY).insert(0, "word")
            await circle.until("bob", partial(has, length))
        await circle.network.converged()
        assert bob.ydoc is watched
        assert [error.exceptions for error in errors] == [(BUG,), (BUG,)]  # type: ignore[attr-defined]
        assert str(text) == "wordword"

    play(seed, story, ("alice", "bob"))


def test_import_is_in_though_an_observer_fails_on_it(seed: int) -> None:
    async def story(circle: Circle) -> None:
        alice, bob = circle["alice"], circle["bob"]
        text = bob.text(BODY)
        text.observe(fail)
        errors = caught()
        bob.import_update(imported())
        await bob.durable()
        assert len(errors) == 1
        await circle.network.converged()
        assert shown(alice) == shown(bob) == "imported "

    play(seed, story, ("alice", "bob"))


def test_mirrored_file_is_taken_in_though_an_observer_fails_on_it(seed: int) -> None:
    async def story(circle: Circle) -> None:
        alice = circle["alice"]
        errors = caught()
        text = alice.text(BODY)
        text.observe(fail)
        DocumentText(alice).edit([TextEdit(position=0, deleted=0, inserted="from a file")])
        await alice.durable()
        assert shown(alice) == "from a file"
        assert len(errors) == 1

    play(seed, story, ("alice",))
