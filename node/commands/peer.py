"""Commands about peers and about the node as a whole: peers, status."""

from collections.abc import AsyncGenerator

from domain.identifiers import PeerId
from node.commands.arguments import Arguments
from node.commands.context import Answer, CommandContext, describe_document
from node.owner import DocumentOwner
from node.peers import PeerStatus
from node.version import culm_version


async def peers(context: CommandContext, arguments: Arguments) -> AsyncGenerator[Answer, None]:
    """List the peers that are known."""
    del arguments
    node = context.node
    now = node.environment.clock.now()
    members: dict[PeerId, list[str]] = {}
    for owner in node.owners():
        for peer in owner.document.ledger.membership.members():
            members.setdefault(peer, []).append(str(owner.document.document))
    known = {peer: node.peers.known.get(peer) or PeerStatus() for peer in members}
    known |= node.peers.known
    known.pop(node.peer_id, None)
    yield {
        "peers": [
            {"peer": str(peer), "documents": sorted(members.get(peer, ()))}
            | _connection(status, now)
            for peer, status in sorted(known.items())
        ]
    }


def _connection(status: PeerStatus, now: float) -> dict[str, object]:
    connection = status.link.connection if status.link is not None else None
    state = "not wanted"
    if connection is not None:
        state = "connected"
    elif status.is_wanted:
        state = "waiting" if status.next_dial is not None else "dialling"
        state = state if status.addresses else "no address"
    return {
        "state": state,
        "address": connection.remote_address if connection is not None else None,
        "addresses": list(status.addresses),
        "connected_s": round(now - status.since, 3) if status.since is not None else None,
        "failures": status.failures,
        "last_error": status.last_error,
        "next_attempt_s": (
            round(max(0.0, status.next_dial - now), 3) if status.next_dial is not None else None
        ),
    }


async def status(context: CommandContext, arguments: Arguments) -> AsyncGenerator[Answer, None]:
    """Give the state of the node and of its documents."""
    del arguments
    node = context.node
    yield {
        "version": culm_version(),
        "peer": str(node.peer_id),
        "data": str(context.directory),
        "addresses": list(node.addresses),
        "connections": len(node.peers.links()),
        "mirrored": sorted(context.mirrored),
        "documents": [
            describe_document(info) | _account(owner, node.peer_id)
            for info, owner in zip(node.documents(), node.owners(), strict=True)
        ],
    }


def _account(owner: DocumentOwner, own_id: PeerId) -> dict[str, object]:
    """Say who the members of a document are, and how many operations each has not acknowledged."""
    members = owner.document.ledger.membership.members()
    others = [peer for peer in members if peer != own_id]
    return {
        "operations": sum(height.count for height in owner.document.heights.values()),
        "members": [str(peer) for peer in members],
        "pending": {str(peer): owner.receipts.pending(peer) for peer in others},
    }
