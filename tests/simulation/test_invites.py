"""Invites let in whom they are meant for, as often and as long as they say; everybody else is told why not."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

import pytest

from domain.errors import InviteError, NetworkError, NotPermittedError, UsageError
from domain.events import Event, JoinRequested, JoinWaiting
from domain.identifiers import DocumentId, PeerId
from domain.identity import DeviceKey, Label
from domain.invite import Invite
from domain.operations.control import Role
from domain.pairing import PairingState, Trust, confirmation_code, trust
from node import Document, Node
from node.simulation import NodeNetwork

TOLD_S_MAX = 5.0


async def reason_of(joining: Awaitable[Document]) -> str:
    """Why a joining is refused; it has to be told within 5 s."""
    started = asyncio.get_running_loop().time()
    with pytest.raises(InviteError) as caught:
        await joining
    assert asyncio.get_running_loop().time() - started < TOLD_S_MAX
    return caught.value.reason


async def heard(events: AsyncIterator[Event], kind: type[Event]) -> Event:
    async for event in events:
        if isinstance(event, kind):
            return event
    raise AssertionError("the node closed")


@asynccontextmanager
async def house(network: NodeNetwork) -> AsyncIterator[tuple[Node, Document, Node]]:
    """Ada with a document, and Eve who wants in."""
    async with network.node("ada") as ada, network.node("eve") as eve:
        yield ada, await ada.create("notes"), eve


async def test_an_invite_that_is_used_up_is_refused(culm_network: NodeNetwork) -> None:
    async with house(culm_network) as (_, original, eve), culm_network.node("bob") as bob:
        invite = await original.invite(uses=1)
        await bob.join(invite)
        assert await reason_of(eve.join(invite)) == "used"
        assert eve.documents() == []


async def test_an_expired_invite_is_refused_by_the_managers_clock(
    culm_network: NodeNetwork,
) -> None:
    async with house(culm_network) as (_, original, eve):
        invite = await original.invite(expires_s=10)
        await asyncio.sleep(11)
        assert await reason_of(eve.join(invite)) == "expired"


async def test_a_revoked_invite_is_refused(culm_network: NodeNetwork) -> None:
    async with house(culm_network) as (_, original, eve):
        invite = await original.invite(uses=5)
        await original.revoke(invite)
        assert await reason_of(eve.join(invite)) == "revoked"


async def test_an_altered_invite_is_refused(culm_network: NodeNetwork) -> None:
    async with house(culm_network) as (_, original, eve):
        invite = await original.invite()
        at = len(invite) // 2
        altered = invite[:at] + ("A" if invite[at] != "A" else "B") + invite[at + 1 :]
        assert await reason_of(eve.join(altered)) in ("forged", "malformed")


async def test_an_invite_whose_key_was_made_up_is_refused(culm_network: NodeNetwork) -> None:
    async with house(culm_network) as (ada, original, eve):
        wanted = Invite.decode(await original.invite())
        forged = Invite(
            document=wanted.document,
            name="notes",
            inviter=wanted.inviter,
            addresses=wanted.addresses,
            expires_us=wanted.expires_us,
            key=DeviceKey(bytes([9]) * 32),
        ).encode(ada.environment.key)
        assert await reason_of(eve.join(forged)) == "refused"


async def test_an_invite_for_another_document_is_refused(culm_network: NodeNetwork) -> None:
    async with house(culm_network) as (ada, original, eve):
        other = await ada.create("other")
        mine = Invite.decode(await original.invite())
        theirs = Invite.decode(await other.invite())
        mixed = Invite(
            document=mine.document,
            name=mine.name,
            inviter=mine.inviter,
            addresses=mine.addresses,
            expires_us=mine.expires_us,
            key=theirs.key,
        ).encode(ada.environment.key)
        assert await reason_of(eve.join(mixed)) == "other-document"
        with pytest.raises(InviteError) as caught:
            await original.revoke(await other.invite())
        assert caught.value.reason == "other-document"


async def test_a_join_copied_from_the_wire_is_of_no_use_to_another(
    culm_network: NodeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(culm_network) as (_, original, eve), culm_network.node("bob") as bob:
        invite = await original.invite(uses=5)
        sign = DeviceKey.sign
        copied: dict[str, bytes] = {}

        def recording(self: DeviceKey, label: Label, message: bytes) -> bytes:
            signature = sign(self, label, message)
            if label is Label.JOIN:
                signature = copied.setdefault("proof", signature)
            return signature

        monkeypatch.setattr(DeviceKey, "sign", recording)
        await bob.join(invite)  # his proof is seen on the wire, and Eve sends it as hers
        assert await reason_of(eve.join(invite)) == "forged"


@pytest.mark.parametrize("role", ["pull", "read", "write", "manage"])
async def test_an_invite_gives_the_role_that_it_was_made_for(
    culm_network: NodeNetwork, role: str
) -> None:
    async with house(culm_network) as (_, original, eve):
        copy = await eve.join(await original.invite(role=role))
        assert copy.role == Role[role.upper()]


async def test_another_manager_admits_while_the_inviter_is_away(
    culm_network: NodeNetwork,
) -> None:
    async with culm_network.node("ada") as ada, culm_network.node("bob") as bob:
        original = await ada.create("notes")
        copy = await bob.join(await original.invite(role="manage"))
        await culm_network.converged()
        ada.peers.want(bob.peer_id, bob.addresses)
        invite = await original.invite()
        assert [peer for peer, _ in Invite.decode(invite).others] == [bob.peer_id]
        await culm_network.converged(original, copy)
        await culm_network.crash("ada")
        async with culm_network.node("eve") as eve:
            joined = await eve.join(invite)
            await joined.synced()
            assert copy.members()[eve.peer_id] == Role.WRITE


async def test_two_people_compare_a_code_before_anybody_is_let_in(
    culm_network: NodeNetwork,
) -> None:
    async with house(culm_network) as (ada, original, eve):
        asked, waits = ada.events(), eve.events()
        invite = await original.invite(confirm=True)
        async with asyncio.TaskGroup() as group:
            joining = group.create_task(eve.join(invite))
            request, waiting = await heard(asked, JoinRequested), await heard(waits, JoinWaiting)
            assert isinstance(request, JoinRequested)
            assert isinstance(waiting, JoinWaiting)
            assert request.code == waiting.code
            assert (request.peer, waiting.peer) == (eve.peer_id, ada.peer_id)
            assert original.waiting() == {eve.peer_id: request.code}
            (owner,) = ada.owners()
            assert ada.admission.pairing(owner, eve.peer_id) == PairingState.WAITING
            await asyncio.sleep(200)  # longer than a stranger is listened to
            assert not joining.done()
            assert original.members().keys() == {ada.peer_id}
            with pytest.raises(UsageError, match="no device waits"):
                await original.confirm("000 000" if request.code != "000 000" else "111 111")
            assert await original.confirm(request.code.replace(" ", "")) == eve.peer_id
        assert joining.result().role == Role.WRITE
        assert ada.admission.pairing(owner, eve.peer_id) == PairingState.PAIRED
        assert trust(owner.document.ledger, ada.peer_id, eve.peer_id) == Trust.CONFIRMED


async def test_who_is_confirmed_too_late_is_not_let_in(culm_network: NodeNetwork) -> None:
    async with house(culm_network) as (ada, original, eve):
        asked = ada.events()
        invite = await original.invite(confirm=True, expires_s=30)
        async with asyncio.TaskGroup() as group:
            joining = group.create_task(reason_or_network(eve.join(invite)))
            request = await heard(asked, JoinRequested)
            assert isinstance(request, JoinRequested)
            await asyncio.sleep(31)
            with pytest.raises(NotPermittedError, match="expired"):
                await original.confirm(request.code)
            joining.cancel()
        assert original.members().keys() == {ada.peer_id}


async def reason_or_network(joining: Awaitable[Document]) -> None:
    with pytest.raises((InviteError, NetworkError)):
        await joining


def test_codes_differ_by_all_that_they_stand_for() -> None:
    ada, eve, bob = (DeviceKey(bytes([number]) * 32).peer for number in (1, 2, 3))

    def code(**changes: object) -> str:
        values: dict[str, object] = {
            "document": DocumentId(bytes(32)),
            "joiner": eve,
            "manager": ada,
            "nonce": bytes(16),
            "proof": bytes(64),
        }
        return confirmation_code(**(values | changes))  # type: ignore[arg-type]

    codes = {
        code(),
        code(document=DocumentId(bytes([1]) * 32)),
        code(joiner=bob),
        code(manager=bob),
        code(nonce=bytes([1]) * 16),
        code(proof=bytes([1]) * 64),
    }
    assert len(codes) == 6
    assert all(len(each) == 7 and each[3] == " " for each in codes)


def trusted(node: Node, peer: PeerId) -> Trust:
    (owner,) = node.owners()
    return trust(owner.document.ledger, node.peer_id, peer)


async def test_trust_says_why_a_device_is_taken_for_whom_it_says_it_is(
    culm_network: NodeNetwork,
) -> None:
    async with house(culm_network) as (ada, original, eve), culm_network.node("own") as own:
        assert trusted(ada, eve.peer_id) == Trust.NONE
        await eve.join(await original.invite())
        await own.join(await original.invite(is_own_device=True))
        assert trusted(ada, eve.peer_id) == Trust.INVITED
        assert trusted(ada, own.peer_id) == Trust.OWN
        assert trusted(eve, ada.peer_id) == Trust.FOUNDER
