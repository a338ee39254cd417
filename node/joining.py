"""Inviting others into documents, and joining theirs."""

import asyncio
from contextlib import suppress
from typing import Final

from domain import limits
from domain.connectivity.address import AddressError, parse_address
from domain.connectivity.meeting import invite_discovery_key
from domain.connectivity.server import RendezvousServer, is_rendezvous
from domain.document import Document
from domain.errors import (
    ConnectionLostError,
    CulmError,
    DialError,
    InviteError,
    NetworkError,
    NodeClosedError,
    UsageError,
)
from domain.founding import new_prekey, new_record
from domain.identifiers import PeerId
from domain.identity import SEED_BYTES, DeviceKey, Label
from domain.invite import Host, Invite
from domain.keyring import Keyring
from domain.operations.control import InviteTerms, join_statement, role_named
from domain.operations.kind import Kind
from domain.sync.message import Join
from node.document import InviteWish
from node.documents import Documents
from node.environment import Environment
from node.exchange import Exchange
from node.link import Link
from node.owner import DocumentOwner
from node.peers import Peers
from node.runtime import Runtime

JOIN_S_MAX: Final = limits.PEER_SILENCE_S_MAX + 5.0
"""Who goes silent meanwhile is noticed first, and asked again over a new connection."""
CONFIRM_S_MAX: Final = 600.0  # two people compare a code
OTHER_ADDRESSES_MAX: Final = 4  # for each other manager: an invite has to fit into a picture
AGAIN_S: Final = 0.5  # between the end of a connection and the next try

REFUSALS: Final = {
    "expired": "the invite has expired: ask for a new one",
    "used": "the invite has been used as often as it allows: ask for a new one",
    "revoked": "the invite was revoked: ask for a new one",
    "other-document": "the invite is for another document: ask for one to this document",
    "forged": "the inviter does not accept the invite's key: ask for a new one",
}
NO_ANSWER: Final = "the inviter did not answer in time: try again later"
UNKNOWN_REFUSAL: Final = (
    "the inviter does not know the invite, or may not let anybody in: ask for a new one"
)


async def invite(
    owner: DocumentOwner, environment: Environment, peers: Peers, wish: InviteWish
) -> str:
    """Make an invite; see `Document.invite`."""
    if not 1 <= wish.uses <= limits.INVITE_USES_MAX or not (
        0 < wish.expires_s <= limits.INVITE_EXPIRES_S_MAX
    ):
        raise UsageError("an invite has 1 to 10,000 uses and expires within ten years")
    for address in wish.addresses:
        _check_address(address)
    key = DeviceKey(environment.entropy.draw(SEED_BYTES))
    expires_us = environment.clock.timestamp_us() + int(wish.expires_s * 1e6)
    person = owner.document.ledger.membership.person(environment.key.peer)
    terms = InviteTerms(
        key=key.peer,
        role=role_named(wish.role),
        expires_us=expires_us,
        uses=wish.uses,
        confirm=wish.confirm,
        person=person if wish.is_own_device else None,
    )
    await owner.write(Kind.INVITE, terms)
    made = Invite(
        document=owner.document.document,
        name=owner.document.record.name,
        inviter=environment.key.peer,
        addresses=tuple(wish.addresses)[: limits.INVITE_ADDRESSES_MAX],
        others=_other_managers(owner, environment, peers),
        expires_us=expires_us,
        confirm=wish.confirm,
        key=key,
    )
    return made.encode(environment.key)


def _check_address(text: str) -> None:
    """Look at an address before anything is written: who joins could make nothing of another text.

    Raises:
        UsageError: Nobody can dial it.
    """
    try:
        found = RendezvousServer.parse(text).address if is_rendezvous(text) else parse_address(text)
    except AddressError as error:
        raise UsageError(str(error)) from None
    if not found.port:
        raise UsageError(f"nobody can dial {text!r}: it needs a port")


def _other_managers(
    owner: DocumentOwner, environment: Environment, peers: Peers
) -> tuple[Host, ...]:
    """List other managers who can admit while we are away, as far as we know where they are."""
    managers = [
        (peer, known.addresses[:OTHER_ADDRESSES_MAX])
        for peer in owner.document.ledger.managers()
        if peer != environment.key.peer
        and (known := peers.known.get(peer)) is not None
        and known.addresses
    ]
    return tuple(managers[: limits.INVITE_OTHERS_MAX])


async def join(
    text: str, environment: Environment, documents: Documents, peers: Peers, runtime: Runtime
) -> DocumentOwner:
    """Join the document of an invite; see `Node.join`."""
    wanted = Invite.decode(text)
    async with documents.joining(wanted.document):
        owner = documents.find(wanted.document)
        if owner is None or owner.document.role is None:
            owner = await _join(wanted, environment, documents, peers, runtime)
    for peer, addresses in wanted.hosts:
        if owner.document.ledger.membership.role(peer) is not None:
            peers.want(peer, addresses)
    return owner


async def _join(
    wanted: Invite, environment: Environment, documents: Documents, peers: Peers, runtime: Runtime
) -> DocumentOwner:
    if wanted.inviter == environment.key.peer:
        raise InviteError(
            "refused", "this device made the invite itself, and no longer has the document"
        )
    for host, _ in wanted.hosts:
        peers.introduce(host, invite_discovery_key(wanted.document, wanted.key.peer))
    connect = _Connector(wanted, environment, peers)
    owner = documents.find(wanted.document)
    has_history = owner is not None and bool(owner.document.heights)
    try:
        owner, link = await _open_and_connect(
            owner, wanted, environment, documents, runtime, connect
        )
        request = _request(wanted, owner)
        # Once we are a member we have to find the others again.
        for peer, addresses in wanted.hosts:
            await peers.remember(peer, addresses)
        await _ask_until_admitted(link, owner, request, connect)
    except BaseException:
        peers.detach(wanted.document)
        owner = documents.find(wanted.document)
        if owner is not None and not has_history:  # who was removed keeps what it has
            # What cannot be deleted serves the next attempt; and a cancellation stays one.
            with suppress(CulmError):
                await documents.forget(owner)
        raise
    return owner


async def _open_and_connect(
    owner: DocumentOwner | None,
    wanted: Invite,
    environment: Environment,
    documents: Documents,
    runtime: Runtime,
    connect: "_Connector",
) -> tuple[DocumentOwner, Link]:
    """Open the document, unless an interrupted attempt or an earlier membership has left it, and dial meanwhile.

    Whatever becomes of the dial, opening goes on to its end: a document is never left half on disk.
    """
    if owner is not None:
        return owner, await connect()
    opened: list[DocumentOwner | CulmError] = []  # at most one

    async def open_new() -> None:
        try:
            opened.append(await _open_new(wanted, environment, documents))
        except CulmError as error:
            opened.append(error)

    opening = runtime.spawn(open_new(), f"open {wanted.document.short}")
    try:
        link = await connect()
    finally:
        await asyncio.wait([opening])
    outcome = opened[0] if opened else NodeClosedError("the node was closed meanwhile")
    if isinstance(outcome, CulmError):
        raise outcome
    return outcome, link


def _request(wanted: Invite, owner: DocumentOwner) -> Join:
    pair = owner.document.keyring.latest_prekey
    assert pair is not None  # kept before the document was opened
    statement = join_statement(wanted.document, owner.document.key.peer, pair.prekey.digest())
    return Join(
        invite_key=wanted.key.peer,
        prekey=pair.prekey,
        proof=wanted.key.sign(Label.JOIN, statement),
    )


class _Connector:
    """Connects to whoever can admit: the inviter, or else another manager that the invite names."""

    def __init__(self, wanted: Invite, environment: Environment, peers: Peers) -> None:
        self.inviter = wanted.inviter
        self._hosts = [host for host in wanted.hosts if host[0] != environment.key.peer]
        self._peers = peers

    async def __call__(self) -> Link:
        failure: NetworkError | None = None
        for peer, addresses in self._hosts:
            try:
                return await self._peers.connect(peer, addresses)
            except NetworkError as error:
                failure = failure or error
        raise failure or DialError("the invite names nobody who could let this device in")

    def skip(self, peer: PeerId) -> bool:
        """Ask that one no more; whether somebody else is left."""
        self._hosts = [host for host in self._hosts if host[0] != peer]
        return bool(self._hosts)


async def _open_new(
    wanted: Invite, environment: Environment, documents: Documents
) -> DocumentOwner:
    """Open a document of which we have nothing but a prekey, which is on disk before anybody can use it."""
    record, keyring = new_record(wanted.name, environment.entropy), Keyring()
    now_us = environment.clock.timestamp_us()
    keyring.add_prekey(new_prekey(environment.key, now_us=now_us, entropy=environment.entropy))
    document = Document(environment.key, wanted.document, record, keyring)
    document.release()
    return await documents.open(await documents.keep(document))


async def _ask_until_admitted(
    link: Link, owner: DocumentOwner, request: Join, connect: "_Connector"
) -> None:
    """Ask, and ask again over new connections, going on where the last one ended; as long as something comes."""
    loop = asyncio.get_running_loop()
    held, ended, give_up = 0, 0, loop.time() + JOIN_S_MAX
    while True:
        failure: CulmError = InviteError("unreachable", NO_ANSWER)
        try:
            exchange = link.introduce(owner)
            exchange.ask_to_join(request)
            if await _wait_admitted(owner, exchange, link):
                return
        except NetworkError as error:
            failure, ended = error, ended + 1
        except InviteError as error:
            # Who is no manager any more, or has not heard of the invite yet, says so: another may know better.
            if error.reason != "refused" or not connect.skip(link.peer):
                raise
            link.detach(owner.document.document)
            try:
                link = await connect()
            except NetworkError as unreached:
                # No from somebody else than the inviter says nothing about the invite: it may not have heard of it.
                raise (error if link.peer == connect.inviter else unreached) from None
            continue
        holds = sum(height.count for height in owner.document.heights.values())
        if holds > held:
            held, give_up = holds, loop.time() + JOIN_S_MAX
        # Once proves nothing: the peer may have dialled us at the same time, and one connection has given way.
        is_hopeless = ended > 1 and not held and not connect.skip(link.peer)
        if is_hopeless or loop.time() >= give_up:
            raise failure
        with suppress(NetworkError):
            await asyncio.sleep(AGAIN_S)
            link = await connect()


async def _wait_admitted(owner: DocumentOwner, exchange: Exchange, link: Link) -> bool:
    """Wait for an answer, but not for one over a connection that has fallen silent: False for that.

    Raises:
        NetworkError: The connection has ended.
        InviteError: We are not let in.
    """

    def is_decided() -> bool:
        is_answered = owner.courier.is_ready or exchange.refusal is not None
        return is_answered or exchange.is_over or link.is_quiet

    while not is_decided():
        received, shown = exchange.received, exchange.code
        try:
            async with asyncio.timeout(CONFIRM_S_MAX if exchange.code else JOIN_S_MAX):
                await owner.wait_until(
                    lambda: is_decided() or exchange.code != shown  # noqa: B023
                )
        except TimeoutError:
            if owner.document.role is not None:
                return True  # a member, whom any other member gives the secrets later
            if exchange.code is not None:
                raise InviteError(
                    "refused", "nobody compared the code in time: ask the inviter, and join again"
                ) from None
            if exchange.received == received:
                raise InviteError("unreachable", NO_ANSWER) from None
    if owner.courier.is_ready:
        return True
    if exchange.refusal is not None:
        raise InviteError(exchange.refusal, REFUSALS.get(exchange.refusal, UNKNOWN_REFUSAL))
    if exchange.is_over:
        raise ConnectionLostError(
            0, "the connection to the inviter ended before it let us in: try again"
        )
    return False
