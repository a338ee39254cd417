"""Who gives too much, or what does not open, keeps nobody from having what others give."""

import asyncio

from domain.identifiers import SecretId
from domain.limits import SECRETS_PER_DISTRIBUTION_MAX
from domain.operations.distribution import Contents, PrekeyNotice, SecretDistribution
from domain.operations.kind import Kind
from domain.operations.operation import Operation
from domain.sealing import DocumentSecret
from domain.secrets import Gift
from node.courier import ASK_AGAIN_S, TURN_S, TURNS_MAX
from node.document import Document
from node.node import Node
from node.simulation import NodeNetwork
from tests.node.secret_sharing import (
    current,
    joined,
    log_of,
    opened,
    owner_of,
    remove,
    secrets_of,
    state_of,
    write,
)


async def test_more_secrets_than_one_operation_names_reach_who_joins(
    culm_network: NodeNetwork,
) -> None:
    async with culm_network.node("ada") as ada, culm_network.node("bob") as bob:
        original = await ada.create("notes")
        copy = await joined(bob, original)
        await culm_network.converged()
        courier, keyring = owner_of(copy).courier, state_of(copy).keyring

        async def make_many() -> None:
            for first in range(0, SECRETS_PER_DISTRIBUTION_MAX + 1, 600):
                made = [
                    DocumentSecret((first + number + 1).to_bytes(32, "big"))
                    for number in range(600)
                ]
                for secret in made:
                    courier.keep(keyring.add_secret(secret))
                ids = tuple(sorted(secret.secret_id for secret in made))
                await courier._give(Gift(secrets=ids, readers=(ada.peer_id,)), announces=True)
            courier._is_rotation_asked = False

        courier._make_secret = make_many  # type: ignore[method-assign]
        await owner_of(copy).rotate()
        await write(copy, "read this")
        await culm_network.converged(original, copy)
        assert len(secrets_of(original)) > SECRETS_PER_DISTRIBUTION_MAX
        async with culm_network.node("cyd") as cyd:
            late = await joined(cyd, original)
            assert str(late.text("body")) == "read this"
            assert secrets_of(late) == secrets_of(original)


async def test_asking_for_what_nobody_has_keeps_nobody_from_asking_for_what_others_have(
    culm_network: NodeNetwork,
) -> None:
    async with (
        culm_network.node("ada") as ada,
        culm_network.node("bob") as bob,
        culm_network.node("mal") as mal,
    ):
        original = await ada.create("notes")
        copy, hostile = await joined(bob, original), await joined(mal, original)
        await culm_network.converged()
        await give_nothing(hostile, bob, range(SECRETS_PER_DISTRIBUTION_MAX))
        await culm_network.converged()
        state_of(copy).keyring.prekeys.clear()  # the next message does not open
        await owner_of(original).rotate()
        await write(original, "for all")
        async with asyncio.timeout(600):
            await copy.wait_until(lambda: "for all" in str(copy.text("body")))


async def give_nothing(hostile: Document, node: Node, numbers: range) -> None:
    """Say that a device was given secrets with the lowest ids, which are none."""
    ids = tuple(SecretId(number.to_bytes(32, "big")) for number in numbers)
    body = SecretDistribution(secrets=ids, readers=((node.peer_id, b"nothing"),))
    await owner_of(hostile).write(Kind.SECRET_DISTRIBUTION, body)


async def test_what_does_not_open_is_asked_for_once_in_a_while(culm_network: NodeNetwork) -> None:
    async with culm_network.node("ada") as ada, culm_network.node("mal") as mal:
        original = await ada.create("notes")
        hostile = await joined(mal, original)
        await culm_network.converged()
        before = len(await notices_of(original, ada))
        for number in range(20):
            await give_nothing(hostile, ada, range(number, number + 1))
            await culm_network.converged()
        assert len(await notices_of(original, ada)) <= before + 2
        await asyncio.sleep(ASK_AGAIN_S)
        await culm_network.converged()
        published = state_of(hostile).ledger.announcements.prekeys[ada.peer_id]
        assert len(published.missing) == 20


async def notices_of(document: Document, node: Node) -> list[Operation]:
    return [
        operation
        for operation in await log_of(document)
        if operation.author == node.peer_id and operation.extension.kind == Kind.PREKEY
    ]


async def test_an_ask_that_builds_on_what_the_giver_cannot_read_is_answered_once(
    culm_network: NodeNetwork,
) -> None:
    async with culm_network.node("ada") as ada, culm_network.node("mal") as mal:
        original = await ada.create("notes")
        hostile = await joined(mal, original)
        await culm_network.converged()
        before, asked = len(await gifts_of(original, ada)), secrets_of(original)
        await hide_text(hostile)
        published = state_of(hostile).ledger.announcements.prekeys[mal.peer_id]
        notice = PrekeyNotice(prekey=published.prekey, missing=tuple(asked))
        await owner_of(hostile).write(Kind.PREKEY, notice)
        for _ in range(100):
            await asyncio.sleep(TURN_S)
            assert len(await gifts_of(original, ada)) <= before + 1
        assert len(await gifts_of(original, ada)) == before + 1


async def hide_text(document: Document) -> None:
    """Write something under a secret that nobody else is given."""
    courier, hidden = owner_of(document).courier, DocumentSecret(b"h" * 32)
    courier._turns = lambda *_: []  # type: ignore[method-assign]
    state_of(document).keyring.add_secret(hidden)
    announced = SecretDistribution(secrets=(hidden.secret_id,))
    await owner_of(document).write(Kind.SECRET_DISTRIBUTION, announced)
    await document.wait_until(lambda: current(document) == hidden.secret_id)
    await write(document, "nobody reads this")


async def gifts_of(document: Document, node: Node) -> list[Operation]:
    return [
        operation
        for operation in await log_of(document)
        if operation.author == node.peer_id and operation.extension.kind == Kind.SECRET_DISTRIBUTION
    ]


async def test_nobody_hands_on_in_its_own_name_what_a_removed_member_made(
    culm_network: NodeNetwork,
) -> None:
    """She tells one alone of a secret, behind text that this one cannot read: who announced it, others never hear."""
    async with (
        culm_network.node("ada") as ada,
        culm_network.node("bob") as bob,
        culm_network.node("cyd") as cyd,
        culm_network.node("eve") as eve,
    ):
        original = await ada.create("notes")
        copy, third = await joined(bob, original), await joined(cyd, original)
        eves = await joined(eve, original)
        eve.peers.want(bob.peer_id, bob.addresses)
        await culm_network.converged()
        culm_network.partition(("bob", "eve"))
        made = (DocumentSecret(number.to_bytes(32, "big")) for number in range(1 << 16))
        known = next(one for one in made if one.secret_id < bytes((1,)))  # the lowest counts
        await hide_text(eves)
        state_of(eves).keyring.add_secret(known)
        prekey = state_of(eves).ledger.announcements.prekeys[bob.peer_id].prekey
        contents = Contents(secrets=(known,)).encode()
        parcel = await owner_of(eves).courier._pack(bob.peer_id, prekey, contents)
        body = SecretDistribution(secrets=(known.secret_id,), readers=((bob.peer_id, parcel),))
        await owner_of(eves).write(Kind.SECRET_DISTRIBUTION, body)
        await copy.wait_until(lambda: known.secret_id in secrets_of(copy))
        await asyncio.sleep(TURN_S * TURNS_MAX)  # he gives it to all
        await remove(original, eve)
        await culm_network.crash("eve")
        culm_network.heal()
        await culm_network.quiet()
        await culm_network.converged(original, copy, third)
        for document in (original, copy, third):
            assert current(document) not in (known.secret_id, None)
        await write(third, "not for eve")
        later = [one for one in await log_of(third) if one.author == cyd.peer_id]
        assert not any(b"not for eve" in plain for plain in opened(state_of(eves), later))
