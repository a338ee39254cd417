"""Secrets reach who may read, whoever is online when, and nobody else."""

import asyncio

import pytest

from domain import limits
from domain.document import Document as DocumentState
from domain.errors import NotPermittedError, RefusedEditsError, SealError
from domain.identifiers import SecretId
from domain.limits import SECRETS_PER_DISTRIBUTION_MAX
from domain.operations.control import Remove, Role, SetRole
from domain.operations.distribution import Contents, PrekeyNotice, SecretDistribution
from domain.operations.kind import Kind, is_content
from domain.operations.operation import Operation
from domain.sealing import DocumentSecret, open_body
from domain.secrets import Gift
from node.courier import ASK_AGAIN_S, TURN_S, TURNS_MAX
from node.document import Document
from node.node import Node
from node.owner import DocumentOwner
from node.simulation import NodeNetwork
from node.stored import from_stored

EVERYTHING = 1 << 40


def owner_of(document: Document) -> DocumentOwner:
    return document._owner


def state_of(document: Document) -> DocumentState:
    return owner_of(document).document


def secrets_of(document: Document) -> set[SecretId]:
    return set(state_of(document).keyring.secrets)


def current(document: Document) -> SecretId | None:
    secret = state_of(document).current_secret()
    return secret.secret_id if secret is not None else None


async def joined(node: Node, by: Document, role: str = "write") -> Document:
    document = await node.join(await by.invite(role=role))
    await document.synced()
    return document


async def write(document: Document, what: str) -> None:
    text = document.text("body")
    text += what
    await document.durable()


async def remove(document: Document, node: Node) -> None:
    await owner_of(document).write(Kind.REMOVE, Remove(member=node.peer_id))


async def demote(document: Document, node: Node, role: Role) -> None:
    await owner_of(document).write(Kind.SET_ROLE, SetRole(member=node.peer_id, role=role))


async def log_of(document: Document) -> list[Operation]:
    arrivals = await owner_of(document).store.read(
        document.id, after=0, count_max=EVERYTHING, bytes_max=EVERYTHING
    )
    return [from_stored(arrival.operation) for arrival in arrivals]


def opened(state: DocumentState, operations: list[Operation]) -> list[bytes]:
    """Whatever a device can open of some operations with all secrets that it has."""
    plain = []
    for operation in operations:
        if is_content(operation.extension.kind):
            for secret in state.keyring.secrets.values():
                try:
                    plain.append(
                        open_body(
                            secret,
                            state.document,
                            operation.position,
                            operation.extension.kind,
                            operation.body,
                        )
                    )
                except SealError:
                    continue
    return plain


async def test_a_member_added_late_reads_the_history(culm_network: NodeNetwork) -> None:
    async with culm_network.node("ada") as ada, culm_network.node("bob") as bob:
        original = await ada.create("notes")
        for word in ("one ", "two ", "three"):
            await write(original, word)
            await owner_of(original).rotate()
        copy = await joined(bob, original)
        assert str(copy.text("body")) == "one two three"
        await write(copy, " four")
        await culm_network.converged(original, copy)
        assert str(original.text("body")) == "one two three four"
        assert secrets_of(original) == secrets_of(copy)
        assert len(secrets_of(copy)) == 4


async def test_handles_fetched_after_joining_stay(culm_network: NodeNetwork) -> None:
    async with culm_network.node("ada") as ada, culm_network.node("bob") as bob:
        original = await ada.create("notes")
        await write(original, "before")
        copy = await bob.join(await original.invite())
        ydoc = copy.ydoc
        await copy.synced()
        await write(original, " after")
        await culm_network.converged(original, copy)
        assert copy.ydoc is ydoc


async def test_two_who_are_never_online_together_hand_on_a_secret_through_a_third(
    culm_network: NodeNetwork,
) -> None:
    async with culm_network.node("ada") as ada, culm_network.node("bob") as bob:
        original = await ada.create("notes")
        copy = await joined(bob, original)
        async with culm_network.node("cyd") as cyd:
            await joined(cyd, original)
            await culm_network.converged()
        await owner_of(original).rotate()  # cyd is away
        await write(original, "for cyd")
        await culm_network.converged(original, copy)
        secret = current(original)
    async with culm_network.node("bob") as bob, culm_network.node("cyd") as cyd:  # ada is away
        cyd.peers.want(bob.peer_id, bob.addresses)
        (info,) = cyd.documents()
        late = await cyd.document(info.id)
        await late.wait_until(lambda: "for cyd" in str(late.text("body")))
        assert current(late) == secret


async def test_who_may_only_pull_decrypts_nothing_and_carries_everything(
    culm_network: NodeNetwork,
) -> None:
    async with culm_network.node("ada") as ada, culm_network.node("box") as box:
        original = await ada.create("notes")
        await write(original, "hidden")
        carried = await joined(box, original, "pull")
        await culm_network.converged(original, carried)
        assert secrets_of(carried) == set()
        assert opened(state_of(carried), await log_of(carried)) == []
        assert str(carried.text("body")) == ""
        # It is told where members meet, and no more.
        keys = state_of(carried).keyring.discovery_keys
        assert keys == state_of(original).keyring.discovery_keys
        with pytest.raises(NotPermittedError):
            await owner_of(carried).rotate()


async def test_who_may_only_read_reads_and_cannot_write(culm_network: NodeNetwork) -> None:
    async with culm_network.node("ada") as ada, culm_network.node("eve") as eve:
        original = await ada.create("notes")
        await write(original, "seen")
        copy = await joined(eve, original, "read")
        assert str(copy.text("body")) == "seen"
        with pytest.raises(RefusedEditsError):
            await write(copy, "never")
        await copy.wait_until(lambda: str(copy.text("body")) == "seen")  # it was taken back
        await culm_network.converged(original, copy)
        assert str(original.text("body")) == "seen"


async def test_a_removed_member_opens_nothing_that_comes_later(culm_network: NodeNetwork) -> None:
    async with (
        culm_network.node("ada") as ada,
        culm_network.node("bob") as bob,
        culm_network.node("eve") as eve,
    ):
        original = await ada.create("notes")
        copy = await joined(bob, original)
        eves = await joined(eve, original)
        await write(original, "shared")
        await culm_network.converged()
        before = len(await log_of(original))
        await remove(original, eve)
        assert current(original) not in secrets_of(eves)
        await write(original, " secret of ada")
        await write(copy, " early of bob")  # perhaps before he hears of it
        await culm_network.converged(original, copy)
        await write(copy, " secret of bob")
        await culm_network.converged(original, copy)
        later = (await log_of(original))[before:]
        # Everything that was written later, from the disk of another member, given to her device.
        state = state_of(eves)
        await owner_of(eves).courier.take(later)
        text = b"".join(opened(state, later))
        assert b"secret" not in text
        assert current(original) not in secrets_of(eves)


async def test_whoever_writes_next_pays_what_a_vanished_remover_owes(
    culm_network: NodeNetwork,
) -> None:
    async with (
        culm_network.node("ada") as ada,
        culm_network.node("bob") as bob,
        culm_network.node("eve") as eve,
    ):
        original = await ada.create("notes")
        copy, eves = await joined(bob, original), await joined(eve, original)
        await culm_network.converged()
        culm_network.partition("eve")
        before = current(copy)
        removal = Remove(member=eve.peer_id)
        async with asyncio.TaskGroup() as group:
            group.create_task(vanish(culm_network, original, copy, removal))
        await write(copy, "secret")
        assert current(copy) not in (None, before)
        culm_network.heal()
        await culm_network.quiet()
        later = [one for one in await log_of(copy) if one.author == bob.peer_id]
        assert not any(b"secret" in plain for plain in opened(state_of(eves), later))


async def vanish(network: NodeNetwork, original: Document, copy: Document, removal: Remove) -> None:
    """Remove, and crash as soon as another has heard of it, before the secret is renewed."""
    owner = owner_of(original)
    owner.courier.pay_at_once = lambda: None  # type: ignore[method-assign]
    owner._orders.append((Kind.REMOVE, removal, asyncio.get_running_loop().create_future()))
    owner._bell.ring()
    await copy.wait_until(lambda: state_of(copy).ledger.membership.role(removal.member) is None)
    await network.crash("ada")


async def test_a_demoted_reader_keeps_the_old_and_gets_no_new_secret(
    culm_network: NodeNetwork,
) -> None:
    async with culm_network.node("ada") as ada, culm_network.node("bob") as bob:
        original = await ada.create("notes")
        copy = await joined(bob, original)
        old = current(original)
        await demote(original, bob, Role.PULL)
        await write(original, "hidden")
        await culm_network.converged(original, copy)
        assert secrets_of(copy) == {old}
        assert "hidden" not in str(copy.text("body"))
        await demote(original, bob, Role.READ)
        await copy.wait_until(lambda: "hidden" in str(copy.text("body")))
        assert secrets_of(copy) == secrets_of(original)


async def test_a_secret_that_did_not_open_is_asked_for_and_given_again(
    culm_network: NodeNetwork,
) -> None:
    async with culm_network.node("ada") as ada, culm_network.node("bob") as bob:
        original = await ada.create("notes")
        copy = await joined(bob, original)
        await culm_network.converged(original, copy)
        # Bob's session is lost, as after a restored backup: the next message does not open.
        state_of(copy).keyring.incoming.clear()
        await owner_of(original).rotate()
        await write(original, "again")
        await copy.wait_until(lambda: "again" in str(copy.text("body")))
        assert secrets_of(copy) == secrets_of(original)


async def test_who_may_only_pull_asks_again_where_members_meet(culm_network: NodeNetwork) -> None:
    async with culm_network.node("ada") as ada, culm_network.node("box") as box:
        original = await ada.create("notes")
        carried = await joined(box, original, "pull")
        await culm_network.converged(original, carried)
        state_of(carried).keyring.incoming.clear()  # the next message does not open
        await owner_of(original).rotate()
        keys = state_of(carried).keyring.discovery_keys
        async with asyncio.timeout(60):
            await carried.wait_until(lambda: current(original) in keys)
        assert secrets_of(carried) == set()
        notices = [
            operation
            for operation in await log_of(carried)
            if operation.author == box.peer_id and operation.extension.kind == Kind.PREKEY
        ]
        assert len(notices) == 2  # one on joining; one asked for what is in use now alone


async def test_a_secret_that_its_maker_withholds_from_one_is_given_by_another(
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
        courier = owner_of(hostile).courier
        honest = courier._prekey_of
        courier._prekey_of = (  # type: ignore[method-assign]
            lambda peer: None if peer == bob.peer_id else honest(peer)
        )
        await owner_of(hostile).rotate()
        await write(hostile, "not for bob")
        await copy.wait_until(lambda: "not for bob" in str(copy.text("body")))
        assert current(hostile) in secrets_of(copy)


def test_prekeys_are_renewed_before_they_expire() -> None:
    network = NodeNetwork(0, virtual_s_max=limits.PREKEY_LIFE_S)

    async def scenario() -> None:
        async with network.node("ada") as ada:
            original = await ada.create("notes")
            prekeys = state_of(original).ledger.announcements.prekeys
            first = prekeys[ada.peer_id].prekey
            await asyncio.sleep(limits.PREKEY_LIFE_S - limits.PREKEY_RENEW_S + 2 * 86_400)
            second = prekeys[ada.peer_id].prekey
            assert second.public != first.public
            assert second.expires_us > first.expires_us
            assert first.public in state_of(original).keyring.prekeys

    network.run(scenario)


async def test_restarts_keep_secrets_and_sessions(culm_network: NodeNetwork) -> None:
    async with culm_network.node("ada") as ada, culm_network.node("bob") as bob:
        original = await ada.create("notes")
        copy = await joined(bob, original)
        await culm_network.converged()
        for number in range(3):
            await culm_network.restart("ada")
            await culm_network.restart("bob")
            original, copy = await documents_of(culm_network, original, "ada", "bob")
            await owner_of(original).rotate()
            await write(original, f"round {number}")
            await culm_network.converged(original, copy)
            assert str(copy.text("body")).endswith(f"round {number}")
        assert secrets_of(copy) == secrets_of(original)
        notices = [one for one in await log_of(copy) if one.extension.kind == Kind.PREKEY]
        assert len(notices) == 2  # nobody had to ask again


async def documents_of(network: NodeNetwork, document: Document, *names: str) -> list[Document]:
    nodes = [network._now.find(name).node for name in names]
    return [await node.document(document.id) for node in nodes if node is not None]


def test_what_nobody_would_take_of_us_is_not_stored_and_the_document_opens_again(seed: int) -> None:
    """Should a rule about who gives what be wrong here, that is owed, and nothing worse."""
    network = NodeNetwork(seed)

    async def scenario() -> None:
        async with network.node("alice") as alice, network.node("bob") as bob:
            document = await alice.create("notes")
            copy = await joined(bob, document, role="read")
            courier, stored = owner_of(copy).courier, len(await log_of(copy))
            assert courier.due(0.0) > 0.0
            courier._rotate_due = 0.0  # a reader makes no secret
            await owner_of(copy).tell_changed()
            owner_of(copy)._bell.ring()
            await asyncio.sleep(60)
            assert len(await log_of(copy)) == stored
            await write(document, "on")
            await network.converged()
            bob = await network.restart("bob")  # noqa: PLW2901 - the same, later
            assert not bob._documents.damaged
            assert str((await bob.document(document.id)).text("body")) == "on"

    network.run(scenario)


def test_who_is_demoted_while_renewing_a_secret_is_told(seed: int) -> None:
    network = NodeNetwork(seed)

    async def scenario() -> None:
        async with network.node("alice") as alice, network.node("bob") as bob:
            document = await alice.create("notes")
            copy = await joined(bob, document)
            owner_of(copy).courier._refused = state_of(copy).ledger.control_count  # so it waits
            renewing = asyncio.create_task(owner_of(copy).rotate())
            await asyncio.sleep(0)
            await demote(document, bob, Role.READ)
            with pytest.raises(NotPermittedError):
                await asyncio.wait_for(renewing, 60)

    network.run(scenario)


async def test_who_stops_while_what_waited_for_a_secret_is_applied_has_it_afterwards(
    culm_network: NodeNetwork,
) -> None:
    async with culm_network.node("ada") as ada:
        original = await ada.create("notes")
        await write(original, "hidden")
        async with culm_network.node("box") as box:
            carried = await joined(box, original, "pull")
            await culm_network.converged(original, carried)
            disk = culm_network._now.find("box").machine.disk
            usual_s, disk.read_s = disk.read_s, (1.0, 2.0)
            await original.set_role(box.peer_id, "read")
            while not secrets_of(carried) or state_of(carried).replica.is_blocked:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert str(carried.text("body")) == ""
        disk.read_s = usual_s
        async with culm_network.node("box") as box:
            carried = await box.document(original.id)
            await culm_network.converged(original, carried)
            assert str(carried.text("body")) == "hidden"


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
