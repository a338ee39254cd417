"""Letting in those who hold an invite, at once or after two people have compared a code."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from domain.errors import NotPermittedError, UsageError
from domain.events import Event, JoinRequested, PairingChanged
from domain.identifiers import DocumentId, OperationId, PeerId
from domain.identity import Label, can_be_sealed_to, verify
from domain.operations.control import Add, join_statement
from domain.operations.kind import Kind
from domain.pairing import NONCE_BYTES, PairingState, confirmation_code
from domain.sync.message import Join, JoinPending, JoinRefused
from node.environment import Environment
from node.owner import DocumentOwner

WAITING_MAX: Final = 64  # joiners whose code nobody has compared; each guess at a code takes one
WAITING_S_MAX: Final = 600.0  # two people who talk to each other compare a code within minutes
REFUSED_MAX: Final = 1_024  # joiners that were refused, remembered for who asks how it stands


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingJoiner:
    """A device that wants to join, and the code that two people have to compare."""

    owner: DocumentOwner
    peer: PeerId
    join: Join
    nonce: bytes
    code: str
    since: float
    begin: Callable[[], object]


class InviteAdmission:
    """Admits who proves to hold an invite's key, as often and as long as the invite says.

    Args:
        environment: Tells the time, by which invites expire, and draws nonces.
        owners: Gives all documents that are open here.
        publish: Takes events.
    """

    def __init__(
        self,
        environment: Environment,
        owners: Callable[[], Iterable[DocumentOwner]],
        publish: Callable[[Event], None],
    ) -> None:
        self._environment = environment
        self._own = environment.key.peer
        self._owners = owners
        self._publish = publish
        self._being_admitted: dict[OperationId, set[PeerId]] = {}
        self._waiting: dict[tuple[DocumentId, PeerId], WaitingJoiner] = {}
        self._refused: dict[tuple[DocumentId, PeerId], str] = {}

    async def admit(
        self, owner: DocumentOwner, peer: PeerId, join: Join, begin: Callable[[], object]
    ) -> JoinRefused | JoinPending | None:
        """Make the peer a member, durably on return; or say why not (see `InviteError`), or that it has to wait.

        `begin` is called if it is let in later: what it said while it waited was ignored, as a stranger's.
        """
        if owner.document.ledger.membership.role(peer) is not None:
            return None
        refusal = self._why_not(owner, peer, join)
        if refusal is None:
            found = owner.document.ledger.membership.invitation_by_key(join.invite_key, self._own)
            assert found is not None
            if found[1].terms.confirm:
                return self._wait(owner, peer, join, begin)
            refusal = await self._add(owner, peer, join)
        return self._note(owner, peer, refusal)

    def _note(self, owner: DocumentOwner, peer: PeerId, refusal: str | None) -> JoinRefused | None:
        place = (owner.document.document, peer)
        self._refused.pop(place, None)
        if refusal is None:
            self._tell(owner, peer)
            return None
        if len(self._refused) >= REFUSED_MAX:
            del self._refused[next(iter(self._refused))]
        self._refused[place] = refusal
        self._tell(owner, peer)
        return JoinRefused(reason=refusal)

    def _why_not(self, owner: DocumentOwner, peer: PeerId, join: Join) -> str | None:
        membership = owner.document.ledger.membership
        if not _is_sound(owner, peer, join):
            return "forged"
        found = membership.invitation_by_key(join.invite_key, self._own)
        if found is None:
            is_of_another = any(
                other.document.ledger.membership.invitation_by_key(join.invite_key, self._own)
                is not None
                for other in self._owners()
            )
            return "other-document" if is_of_another else "refused"
        invite, invitation = found
        if membership.is_revoked(invite):
            return "revoked"
        if self._environment.clock.timestamp_us() >= invitation.terms.expires_us:
            return "expired"
        in_progress = self._being_admitted.get(invite, set()) - {peer}  # which asks again meanwhile
        uses = membership.uses(invite) + len(in_progress)
        return "used" if uses >= invitation.terms.uses else None

    async def _add(self, owner: DocumentOwner, peer: PeerId, join: Join) -> str | None:
        found = owner.document.ledger.membership.invitation_by_key(join.invite_key, self._own)
        assert found is not None
        invite, invitation = found
        add = Add(
            member=peer,
            role=invitation.terms.role,
            invite=invite,
            prekey_hash=join.prekey.digest(),
            proof=join.proof,
        )
        in_progress = self._being_admitted.setdefault(invite, set())
        in_progress.add(peer)
        self._tell(owner, peer)
        owner.courier.present(peer, join.prekey)
        try:
            await owner.write(Kind.ADD, add)
        except NotPermittedError:
            is_member = owner.document.ledger.membership.role(peer) is not None  # it asked twice
            return None if is_member else "refused"
        finally:
            in_progress.discard(peer)
            if not in_progress:
                self._being_admitted.pop(invite, None)
        return None

    # -- Comparing codes --

    def _wait(
        self, owner: DocumentOwner, peer: PeerId, join: Join, begin: Callable[[], object]
    ) -> JoinPending:
        """Let a joiner wait for its code to be compared; who asks again with the same proof has the same code."""
        document, now = owner.document.document, self._environment.clock.now()
        self._forget_stale(now)
        known = self._waiting.pop((document, peer), None)
        is_same = known is not None and known.join.proof == join.proof
        nonce = (
            known.nonce
            if known is not None and is_same
            else self._environment.entropy.draw(NONCE_BYTES)
        )
        own = self._environment.key.peer
        code = confirmation_code(document, peer, own, nonce=nonce, proof=join.proof)
        if len(self._waiting) >= WAITING_MAX:
            del self._waiting[next(iter(self._waiting))]
        self._waiting[document, peer] = WaitingJoiner(
            owner=owner,
            peer=peer,
            join=join,
            nonce=nonce,
            code=code,
            since=now,
            begin=begin,
        )
        if not is_same:
            self._tell(owner, peer)
            self._publish(JoinRequested(document=document, peer=peer, code=code))
        return JoinPending(nonce=nonce)

    def _forget_stale(self, now: float) -> None:
        for place, joiner in tuple(self._waiting.items()):
            if now - joiner.since > WAITING_S_MAX:
                del self._waiting[place]

    def waiting(self, document: DocumentId) -> dict[PeerId, str]:
        """Give the devices that wait to be let into a document, each with the code to be compared."""
        self._forget_stale(self._environment.clock.now())
        return {
            joiner.peer: joiner.code
            for (place, _), joiner in self._waiting.items()
            if place == document
        }

    async def confirm(self, document: DocumentId, code: str) -> PeerId:
        """Let in the device that waits with that code; durable on return.

        Raises:
            UsageError: None waits with it.
            NotPermittedError: We may not admit it, or the invite is no longer good.
        """
        self._forget_stale(self._environment.clock.now())
        digits = "".join(filter(str.isdigit, code))
        for place, joiner in self._waiting.items():
            if place[0] == document and joiner.code.replace(" ", "") == digits:
                break
        else:
            raise UsageError(
                "no device waits with that code: look at both codes again; each is good for ten minutes"
            )
        del self._waiting[place]
        refusal = self._why_not(joiner.owner, joiner.peer, joiner.join)
        refusal = refusal or await self._add(joiner.owner, joiner.peer, joiner.join)
        self._note(joiner.owner, joiner.peer, refusal)
        if refusal is not None:
            raise NotPermittedError(f"the device cannot be let in: its invite is {refusal}")
        joiner.begin()
        again = self._waiting.pop(place, None)  # it has asked once more meanwhile
        if again is not None:
            again.begin()
        return joiner.peer

    def _tell(self, owner: DocumentOwner, peer: PeerId) -> None:
        """Say where a device stands now."""
        state = self.pairing(owner, peer)
        self._publish(PairingChanged(document=owner.document.document, peer=peer, state=state))

    def pairing(self, owner: DocumentOwner, peer: PeerId) -> PairingState:
        """Say where a device stands with a document."""
        membership, place = owner.document.ledger.membership, (owner.document.document, peer)
        if membership.role(peer) is not None:
            return PairingState.PAIRED
        if place in self._waiting:
            return PairingState.WAITING
        if any(peer in peers for peers in self._being_admitted.values()):
            return PairingState.PAIRING
        if membership.removals_of(peer):
            return PairingState.REMOVED
        return PairingState.REFUSED if place in self._refused else PairingState.UNPAIRED


def _is_sound(owner: DocumentOwner, peer: PeerId, join: Join) -> bool:
    """Whether the holder of the invite's key vouches for this very peer and its prekey, and the peer for the latter.

    And whether anything can be sealed to it: no replica takes it as a member else.
    """
    statement = join_statement(owner.document.document, peer, join.prekey.digest())
    is_vouched_for = verify(join.invite_key, Label.JOIN, statement, join.proof)
    return is_vouched_for and join.prekey.is_signed_by(peer) and can_be_sealed_to(peer)
