"""Nothing secret shows: not in logs, events, answers of commands, errors, tracebacks or `repr`."""

import asyncio
import base64
import json
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from domain.errors import CulmError
from domain.invite import Invite
from node import Document, Node
from node.commands.handler import COMMANDS, NodeCommands
from node.simulation import NodeNetwork

QUIET_COMMANDS = ("documents", "members", "devices", "waiting", "peers", "status")


def secrets_of(node: Node, document: Document) -> Iterator[bytes]:
    """Everything that only the device knows, and what lets others in."""
    keyring = document._owner.document.keyring
    yield node.environment.key.seed
    yield node.environment.storage_key
    yield from (secret.key for secret in keyring.secrets.values())
    yield from (pair.private for pair in keyring.prekeys.values())
    yield from keyring.discovery_keys.values()
    yield from (session.state for session in keyring.outgoing.values())
    yield from keyring.incoming.values()


def forms(secret: bytes) -> Iterator[str]:
    """The forms in which bytes come into a text."""
    yield secret.hex()
    yield repr(secret)[2:-1]
    yield base64.b64encode(secret).decode()
    yield base64.urlsafe_b64encode(secret).decode().rstrip("=")
    yield str(list(secret))[1:-1]


async def answers_of(node: Node, document: Document) -> str:
    commands = NodeCommands(node, Path("/nowhere"))
    said = []
    for name in QUIET_COMMANDS:
        _, names = COMMANDS[name]
        arguments = {"document": str(document.id)} if "document" in names else {}
        said += [
            json.dumps(dict(answer), default=repr)
            async for answer in commands.handle(name, arguments)
        ]
    return "\n".join(said)


async def test_no_secret_shows_anywhere(
    culm_network: NodeNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    async with culm_network.node("ada") as ada, culm_network.node("bob") as bob:
        original = await ada.create("notes")
        heard = ada.events()
        invites = [await original.invite(uses=1), await original.invite(confirm=True)]
        copy = await bob.join(invites[0])
        await copy.synced()
        body = copy.text("body")
        body += "words"
        await original.rotate()
        await culm_network.converged()
        copy._owner.document.keyring.incoming.clear()  # the next message does not open
        await original.rotate()
        await asyncio.sleep(30)
        for invite in (invites[0], invites[1][:-3], "culm1" + "A" * 80):
            try:
                async with culm_network.node("eve") as eve:
                    await eve.join(invite)
            except CulmError as error:
                said.append("".join(traceback.format_exception(error)))
        said += [await answers_of(ada, original), await answers_of(bob, copy)]
        async with asyncio.timeout(1):
            async for event in heard:
                said.append(repr(event))
                if len(said) > 20:
                    break
        for node, document in ((ada, original), (bob, copy)):
            state = document._owner.document
            said += [repr(state.keyring), repr(node.environment), repr(state.record)]
        said += [repr(Invite.decode(invite)) for invite in invites]
        said += [repr(vars(record)) for record in caplog.records]
        known = {*secrets_of(ada, original), *secrets_of(bob, copy)}
        known |= {Invite.decode(invite).key.seed for invite in invites}
    everything = "\n".join([*said, caplog.text])
    assert "courier.not_opened" in everything  # what is searched is what was said
    assert len(known) > 10
    for secret in known:
        for form in forms(secret):
            assert form not in everything
    assert not any(invite in everything for invite in invites)
