"""Collects what is known about a document and a peer, so that `domain.explanation` can say why an edit is not there."""

from domain.connectivity.lifecycle import ATTEMPT
from domain.crdt.judged import Block
from domain.errors import HandshakeError
from domain.explanation import (
    Circumstances,
    DocumentCircumstances,
    Explanation,
    PeerCircumstances,
    explain,
)
from domain.identifiers import PeerId, Position
from node.owner import DocumentOwner
from node.peer_status import PeerStatus
from node.peers import Peers

WAITED_FOR_SHOWN_MAX = 8


def explain_document(
    owner: DocumentOwner,
    peers: Peers,
    peer: PeerId | None,
    *,
    refused: tuple[str, ...],
    now: float,
) -> Explanation:
    """Say what keeps edits of a document from being here, or at a peer.

    Args:
        owner: Of the document.
        peers: All that is known about peers.
        peer: The peer; None to look at this device alone.
        refused: Why operations of the document were refused lately.
        now: Seconds, of the clock of the node.
    """
    return explain(
        Circumstances(
            document=document_circumstances(owner, peers.own_id, refused),
            peer=_of_peer(owner, peers, peer, now) if peer is not None else None,
        )
    )


def document_circumstances(
    owner: DocumentOwner, own: PeerId, refused: tuple[str, ...]
) -> DocumentCircumstances:
    """Collect how it stands with a document on this device, which is `own`."""
    document, failure = owner.document, owner.persistence.failure
    ledger, blocked = document.ledger, document.replica.blocked()
    members = ledger.membership.members()
    return DocumentCircumstances(
        is_member=document.role is not None,
        may_write=document.may_write,
        others=len(members.keys() - {own}),
        newer_format=ledger.read_only_reason,
        unsaved_edits=document.pending.total_count - owner.saved_count,
        unsaved_reason=None if failure is None else str(failure),
        refused=refused,
        void=ledger.counting.void_count,
        waiting=len(document.gate),
        waited_for=tuple(_name(missing) for missing in document.gate.waiting_for())[
            :WAITED_FOR_SHOWN_MAX
        ],
        blocked_for_secret=blocked.get(Block.SECRET, 0),
        blocked_for_version=(f"{count} operations need a newer culm",)
        if (count := blocked.get(Block.VERSION, 0))
        else (),
        quarantined=blocked.get(Block.ENGINE, 0),
        owes_secret=owner.courier.is_reading and document.current_secret() is None,
    )


def _name(missing: object) -> str:
    if isinstance(missing, Position):
        return f"operation {missing.seq_num} of {missing.log.author.short}"
    return f"an operation whose id is {missing}"


def _of_peer(owner: DocumentOwner, peers: Peers, peer: PeerId, now: float) -> PeerCircumstances:
    status = peers.known.get(peer)
    document = owner.document
    ours = sum(height.count for height in document.heights.values())
    link = status.link if status is not None else None
    exchange = link.exchanges.get(document.document) if link is not None else None
    next_dial = peers.next_dial(peer)
    return PeerCircumstances(
        name=peer.short,
        is_member=document.ledger.membership.role(peer) is not None,
        addresses=status.addresses if status is not None else (),
        is_connected=link is not None and not link.is_quiet,
        is_refused=status is not None and isinstance(status.error, HandshakeError),
        is_connecting=status is not None and status.lifecycle.state in ATTEMPT,
        last_error=status.last_error if status is not None else None,
        next_attempt_s=max(0.0, next_dial - now) if next_dial is not None else None,
        is_exchanging=exchange is not None and not exchange.is_over and exchange.has_begun,
        ours=ours,
        acknowledged=ours - owner.receipts.pending(peer),
        announced=max(0, exchange.announced - exchange.received) if exchange is not None else 0,
        path=_describe_path(status),
    )


def _describe_path(status: PeerStatus | None) -> str | None:
    if status is None or status.link is None:
        return None
    connection = status.link.connection
    round_trip_s = connection.statistics().round_trip_s
    trip = f", round trip {1e3 * round_trip_s:.0f} ms" if round_trip_s is not None else ""
    return f"{connection.remote_address}{trip}"
