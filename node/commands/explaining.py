"""The command that says why an edit is not there."""

from collections.abc import AsyncGenerator

from domain.errors import IdentifierError
from domain.identifiers import PeerId
from node.commands.arguments import Arguments
from node.commands.context import Answer, CommandContext, describe_document
from node.commands.membership import find_member
from node.document import Document


async def explain(context: CommandContext, arguments: Arguments) -> AsyncGenerator[Answer, None]:
    """Say why an edit is not there: here, or at a peer."""
    document = await context.open(arguments.text("document"))
    meant = arguments.optional_text("peer")
    peer = _find_peer(document, meant) if meant is not None else None
    explanation = context.node.explain(document.id, peer)
    yield describe_document(document) | {
        "peer": str(peer) if peer is not None else None,
        "verdict": explanation.verdict.value,
        "findings": [
            {"verdict": each.verdict.value, "evidence": each.evidence, "action": each.action}
            for each in explanation.findings
        ],
    }


def _find_peer(document: Document, meant: str) -> PeerId:
    """Find a member; or somebody who is none, by the whole id."""
    try:
        return PeerId.from_hex(meant)
    except IdentifierError:
        return find_member(document, meant)
