"""What hostile and broken peers do ends in a typed error about them alone; everybody else goes on.

Each test connects somebody who breaks a rule to Alice, and then checks that Alice and Bob still hear each other.
"""

import asyncio
from dataclasses import replace
from random import Random

import pytest

from domain import limits
from domain.connectivity.close_codes import CloseCode
from domain.errors import HandshakeError, InviteError, NetworkError
from domain.events import (
    DocumentDegraded,
    PeerDisconnected,
    SecurityEvent,
)
from domain.founding import new_prekey, new_record
from domain.identifiers import OperationId
from domain.identity import SEED_BYTES, SIGNATURE_BYTES, DeviceKey, Label
from domain.invite import Invite
from domain.keyring import Keyring
from domain.ledger.claim import client_id
from domain.operations.control import join_statement
from domain.operations.operation import Operation, rebuild
from domain.sync.message import Ack, BodyPart, Done, Have, Join, Nack, PreSync, encode_message
from domain.sync.wire import OutgoingWire
from node import Document, Node, NodeConfig
from tests.domain.crdt.encoding import fail_to_apply, section, string, update
from tests.simulation.hostile import Hostile, own_update, update_of
from tests.simulation.village import Village, play, running, until_refused

POISON = b"poison"


def with_signature(operation: Operation, signature: bytes) -> Operation:
    header = rebuild(
        author=operation.author,
        signature=signature,
        seq_num=operation.header.seq_num,
        backlink=operation.header.backlink,
        extension=operation.extension,
        body=operation.body,
    )
    return Operation.assemble(header, operation.body)


async def until_suspected(village: Village) -> SecurityEvent:
    (event, *_) = await village.alice.until(SecurityEvent)
    assert event.peer == village.mallory.machine.key.peer
    assert isinstance(event, SecurityEvent)
    return event


# --- Bytes that are no messages ---


@pytest.mark.parametrize("size", [1, 2, 100, limits.MESSAGE_BYTES_MAX])
def test_garbage_on_the_control_channel_ends_that_connection_alone(seed: int, size: int) -> None:
    async def attack(village: Village) -> None:
        connection = await village.attack()
        await connection.control.send(b"\x80" + Random(seed).randbytes(size - 1))
        code, _, by_peer = await connection.wait_closed()
        assert (code, by_peer) == (CloseCode.PROTOCOL_ERROR, True)
        await until_suspected(village)

    play(seed, attack)


@pytest.mark.parametrize("size", [1, 2, 100, limits.MESSAGE_BYTES_MAX])
def test_garbage_on_the_channel_of_a_document_ends_that_connection_alone(
    seed: int, size: int
) -> None:
    async def attack(village: Village) -> None:
        connection = await village.attack()
        await village.mallory.say(connection, b"\x80" + Random(seed).randbytes(size - 1))
        code, _, by_peer = await connection.wait_closed()
        assert (code, by_peer) == (CloseCode.PROTOCOL_ERROR, True)
        await until_suspected(village)

    play(seed, attack)


@pytest.mark.parametrize(
    "message",
    [
        Done(exchange=77),
        Ack(counts=((3, 1),)),
        BodyPart(data=b"x"),
        Nack(log=9, seq_num=0, reason="why"),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_message_that_means_nothing_there_ends_that_connection_alone(
    seed: int, message: Done | Ack | BodyPart | Nack
) -> None:
    async def attack(village: Village) -> None:
        connection = await village.attack()
        await village.mallory.say(connection, message)
        code, _, by_peer = await connection.wait_closed()
        assert (code, by_peer) == (CloseCode.PROTOCOL_ERROR, True)
        await until_suspected(village)

    play(seed, attack)


def test_a_document_message_on_the_control_channel_ends_that_connection_alone(seed: int) -> None:
    async def attack(village: Village) -> None:
        connection = await village.attack()
        await connection.control.send(encode_message(PreSync(operations=1)))
        code, _, by_peer = await connection.wait_closed()
        assert (code, by_peer) == (CloseCode.PROTOCOL_ERROR, True)
        await until_suspected(village)

    play(seed, attack)


def test_who_takes_no_answers_is_let_go_before_they_fill_memory(seed: int) -> None:
    async def attack(village: Village) -> None:
        connection = await village.attack()
        for _ in range(20_000):
            try:
                await village.mallory.say(connection, Have(is_last=True, heights=()))
            except NetworkError:
                break
            for link in village.alice.node.peers.links():
                for exchange in link.exchanges.values():
                    assert exchange._session.backlog < 5_000

    play(seed, attack)


# --- Operations that no replica accepts ---


def test_a_forged_signature_is_reported_with_who_sent_it(seed: int) -> None:
    async def attack(village: Village) -> None:
        connection = await village.attack()
        operation = village.mallory.update(own_update(village.mallory))
        forged = with_signature(operation, bytes(SIGNATURE_BYTES))
        await village.mallory.send(connection, forged)
        event = await until_suspected(village)
        assert "signature" in event.what
        assert "m" not in village.alice.text.replace("[", "")[-1:]

    play(seed, attack)


def test_an_operation_in_the_name_of_another_is_reported(seed: int) -> None:
    async def attack(village: Village) -> None:
        connection = await village.attack()
        bob = village.world.machine("bob").key.peer
        operation = village.mallory.update(own_update(village.mallory))
        header = replace(operation.header, author=bob)
        await village.mallory.send(connection, Operation.assemble(header, operation.body))
        event = await until_suspected(village)
        assert "signature" in event.what

    play(seed, attack)


def test_a_wrong_backlink_is_refused(seed: int) -> None:
    async def attack(village: Village) -> None:
        connection = await village.attack()
        mallory = village.mallory
        first = mallory.update(own_update(mallory))
        second = mallory.update(b"\0\0", after=first, backlink=OperationId(bytes(32)))
        await mallory.send(connection, first)
        mallory.wire = OutgoingWire()  # which sends the backlink, since it cannot be known
        await mallory.send(connection, second)
        await until_refused(village, "wrong-backlink")

    play(seed, attack)


def test_an_operation_before_its_time_waits_and_shows_once_the_gap_is_filled(seed: int) -> None:
    async def attack(village: Village) -> None:
        connection = await village.attack()
        mallory = village.mallory
        first = mallory.update(own_update(mallory, "late"))
        second = mallory.update(b"\0\0", after=first)
        await mallory.send(connection, second)
        await asyncio.sleep(1)
        assert "late" not in village.alice.text
        await mallory.send(connection, first)
        await village.alice.until_text_has("late")
        await village.bob.until_text_has("late")

    play(seed, attack)


def test_operations_whose_past_never_comes_are_bounded(seed: int) -> None:
    async def attack(village: Village) -> None:
        connection = await village.attack()
        mallory = village.mallory
        unknown = OperationId(b"u" * OperationId.LENGTH)
        orphan = mallory.update(b"\0\0", previous=(unknown,))
        for _ in range(50):
            previous, batch = orphan, []
            for _ in range(100):
                previous = mallory.update(b"\0\0", after=previous)
                batch.append(previous)
            await mallory.send(connection, *batch)
            orphan = previous
        await asyncio.sleep(5)
        gate = village.alice.state.gate
        assert 0 < len(gate) <= limits.PARKED_OPERATIONS_MAX

    play(seed, attack)


def test_a_replay_changes_nothing(seed: int) -> None:
    async def attack(village: Village) -> None:
        connection = await village.attack()
        mallory = village.mallory
        operation = mallory.update(own_update(mallory, "once"))
        await mallory.send(connection, *[operation] * 50)
        await village.alice.until_text_has("once")
        await mallory.send(connection, *[operation] * 50)
        await asyncio.sleep(1)
        assert village.alice.text.count("once") == 1
        stored = village.world.machine("alice").disk.content.ledger(village.document).operations
        assert sum(each.operation_id == operation.operation_id for each in stored) == 1

    play(seed, attack)


def test_client_ids_of_another_author_are_refused(seed: int) -> None:
    async def attack(village: Village) -> None:
        connection = await village.attack()
        bob_client = village.bob.state.pending.client
        await village.mallory.send(connection, village.mallory.update(update_of(bob_client)))
        await until_refused(village, "")

    play(seed, attack)


def test_unclaimed_client_ids_are_refused(seed: int) -> None:
    async def attack(village: Village) -> None:
        connection = await village.attack()
        await village.mallory.send(connection, village.mallory.update(update_of(12345)))
        await until_refused(village, "")

    play(seed, attack)


def test_an_update_that_the_engine_fails_on_is_kept_and_set_aside(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_to_apply(monkeypatch, POISON)

    async def attack(village: Village) -> None:
        connection = await village.attack()
        mallory = village.mallory
        good = mallory.update(own_update(mallory))
        bad = mallory.update(poisoned(client_id(mallory.log)), after=good)
        await mallory.send(connection, good, bad)
        (event, *_) = await village.alice.until(DocumentDegraded)
        assert event.operation == bad.operation_id
        stored = village.world.machine("bob").disk.content.ledger(village.document)
        await village.check_unharmed()
        assert bad.operation_id in stored.places

    play(seed, attack)


def poisoned(client: int) -> bytes:
    """An update that the engine is made to fail on."""
    return update(section(string(POISON), client=client, clock=1))


# --- Strangers and invites ---


def test_a_stranger_is_told_nothing_and_let_go(seed: int) -> None:
    async def attack(village: Village) -> None:
        machine = village.world.machine("eve")
        keyring = Keyring(secrets=village.mallory.state.keyring.secrets)
        eve = Hostile(machine, village.document, new_record("x", machine.entropy), keyring, [])
        connection = await eve.connect_to(village.world.machine("alice"))
        await eve.compare(connection, bytes(32))
        operation = eve.update(update_of(client_id(eve.log), "eve"))
        for _ in range(limits.STRANGER_OPERATIONS_MAX + 10):
            try:
                await eve.say(connection, Have(is_last=True, heights=()))
                await eve.send(connection, operation)
            except NetworkError:
                break
        async with asyncio.timeout(limits.STRANGER_S_MAX):
            code, _, by_peer = await connection.wait_closed()
        assert (code, by_peer) == (CloseCode.NOT_WANTED, True)
        assert connection.statistics().bytes_received == 0
        assert "eve" not in village.alice.text

    play(seed, attack)


def test_a_stranger_that_asks_for_a_document_and_never_joins_is_let_go(seed: int) -> None:
    async def attack(village: Village) -> None:
        machine = village.world.machine("eve")
        keyring = Keyring(secrets=village.mallory.state.keyring.secrets)
        eve = Hostile(machine, village.document, new_record("x", machine.entropy), keyring, [])
        connection = await eve.connect_to(village.world.machine("alice"))
        await eve.compare(connection, bytes(32))
        async with asyncio.timeout(limits.STRANGER_S_MAX + 1):
            code, _, by_peer = await connection.wait_closed()
        assert (code, by_peer) == (CloseCode.UNUSED, True)

    play(seed, attack)


async def try_to_join(node: Node, invite: str) -> str | Document:
    try:
        return await node.join(invite)
    except InviteError as error:
        return error.reason


def test_of_two_joiners_at_once_a_one_use_invite_admits_one(seed: int) -> None:
    async def attack(village: Village) -> None:
        invite = await village.alice.document.invite(uses=1)
        async with (
            running(village.world.machine("carol")) as carol,
            running(village.world.machine("dave")) as dave,
            asyncio.TaskGroup() as group,
        ):
            joining = [
                group.create_task(try_to_join(carol, invite)),
                group.create_task(try_to_join(dave, invite)),
            ]
            done = [await each for each in joining]
            assert sum(isinstance(each, Document) for each in done) == 1
            assert sum(each == "used" for each in done) == 1
            assert sorted(len(each.documents()) for each in (carol, dave)) == [0, 1]

    play(seed, attack)


def test_a_used_invite_is_refused_as_used(seed: int) -> None:
    async def attack(village: Village) -> None:
        invite = await village.alice.document.invite(uses=1)
        async with running(village.world.machine("carol")) as carol:
            assert isinstance(await try_to_join(carol, invite), Document)
        async with running(village.world.machine("dave")) as dave:
            assert await try_to_join(dave, invite) == "used"
            assert dave.documents() == []

    play(seed, attack)


def test_an_expired_invite_is_refused_as_expired_by_the_inviters_clock(seed: int) -> None:
    async def attack(village: Village) -> None:
        invite = await village.alice.document.invite(expires_s=5)
        village.world.machine("carol").clock.wall_offset_s = -1_000
        await asyncio.sleep(6)
        async with running(village.world.machine("carol")) as carol:
            assert await try_to_join(carol, invite) == "expired"

    play(seed, attack)


def test_an_altered_invite_is_refused_before_anybody_is_asked(seed: int) -> None:
    async def attack(village: Village) -> None:
        invite = await village.alice.document.invite()
        wanted = Invite.decode(invite)
        forged = replace(wanted, name="other").encode(village.mallory.machine.key)
        async with running(village.world.machine("carol")) as carol:
            assert await try_to_join(carol, forged) == "forged"
            assert await try_to_join(carol, invite[:-7]) in ("malformed", "forged")

    play(seed, attack)


def test_an_invite_whose_key_the_document_does_not_know_is_refused(seed: int) -> None:
    async def attack(village: Village) -> None:
        wanted = Invite.decode(await village.alice.document.invite())
        key = DeviceKey(village.mallory.machine.entropy.draw(SEED_BYTES))
        made_up = replace(wanted, key=key).encode(village.world.machine("alice").key)
        async with running(village.world.machine("carol")) as carol:
            assert await try_to_join(carol, made_up) == "refused"

    play(seed, attack)


def test_a_joiner_without_the_invites_key_is_refused(seed: int) -> None:
    async def attack(village: Village) -> None:
        wanted = Invite.decode(await village.alice.document.invite())
        machine = village.world.machine("eve")
        eve = Hostile(machine, village.document, new_record("x", machine.entropy), Keyring(), [])
        connection = await eve.connect_to(village.world.machine("alice"))
        await eve.compare(connection, bytes(32))
        prekey = new_prekey(machine.key, now_us=0, entropy=machine.entropy).prekey
        statement = join_statement(village.document, machine.key.peer, prekey.digest())
        proof = machine.key.sign(Label.JOIN, statement)
        await eve.say(connection, Join(invite_key=wanted.key.peer, prekey=prekey, proof=proof))
        await asyncio.sleep(2)
        assert village.alice.state.ledger.membership.role(machine.key.peer) is None

    play(seed, attack)


def test_a_node_of_another_network_is_refused_in_the_handshake(seed: int) -> None:
    async def attack(village: Village) -> None:
        invite = await village.alice.document.invite()
        other = NodeConfig(network_id="other")
        async with running(village.world.machine("carol"), other) as carol:
            with pytest.raises(HandshakeError) as caught:
                await carol.join(invite)
            assert caught.value.code == CloseCode.WRONG_NETWORK
            assert carol.documents() == []

    play(seed, attack)


def test_a_member_that_disconnects_in_the_middle_of_a_body_harms_nobody(seed: int) -> None:
    async def attack(village: Village) -> None:
        connection = await village.attack()
        mallory = village.mallory
        large = mallory.update(own_update(mallory, "L" * (2 * limits.BODY_PART_BYTES_MAX)))
        first, part, *_ = mallory.wire.compact(large)
        await mallory.say(connection, first, part)
        connection.close(CloseCode.NORMAL, "bye")
        await village.alice.until(PeerDisconnected, 2)
        assert "LLL" not in village.alice.text

    play(seed, attack)
