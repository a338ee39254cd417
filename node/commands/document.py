"""Commands about documents: create, invite, documents, cat, forget."""

from collections.abc import AsyncGenerator

from domain.crdt.engine import failures_translated
from domain.errors import UsageError
from node.commands.arguments import Arguments
from node.commands.context import (
    Answer,
    CommandContext,
    describe_damaged,
    describe_document,
)
from node.document import Document
from node.mirror import BODY, DocumentText

INVITE_EXPIRES_S: int = 86_400


async def create(context: CommandContext, arguments: Arguments) -> AsyncGenerator[Answer, None]:
    """Found a document."""
    document = await context.node.create(arguments.text("name"))
    yield describe_document(document)


async def invite(context: CommandContext, arguments: Arguments) -> AsyncGenerator[Answer, None]:
    """Make an invite to a document."""
    document = await context.open(arguments.text("document"))
    uses = arguments.whole_number("uses", 1)
    expires_s = arguments.number("expires_s", INVITE_EXPIRES_S)
    text = await document.invite(
        role=arguments.optional_text("role") or "write",
        uses=uses,
        expires_s=expires_s,
        is_own_device=arguments.flag("own"),
        confirm=arguments.flag("confirm"),
        addresses=arguments.texts("addresses"),
    )
    yield describe_document(document) | {"invite": text, "uses": uses, "expires_s": expires_s}


async def documents(context: CommandContext, arguments: Arguments) -> AsyncGenerator[Answer, None]:
    """List the documents."""
    del arguments
    yield {
        "documents": [describe_document(each) for each in context.node.documents()],
        "damaged": describe_damaged(context.node),
    }


async def cat(context: CommandContext, arguments: Arguments) -> AsyncGenerator[Answer, None]:
    """Give the content of a root text."""
    document = await context.open(arguments.text("document"))
    root = arguments.optional_text("root") or BODY
    yield describe_document(document) | {"root": root, "text": read_root(document, root)}


def read_root(document: Document, root: str) -> str:
    """Read a root text.

    Raises:
        UsageError: The document has no root of that name; `body` is there, and empty, at first.
    """
    with failures_translated():
        names = sorted(document.ydoc.keys())
    if root != BODY and root not in names:
        there = ", ".join(names) or "none"
        raise UsageError(f"the document has no root {root!r}; there are: {there}")
    text = DocumentText(document, root)
    try:
        return text.read()
    finally:
        text.close()


async def forget(context: CommandContext, arguments: Arguments) -> AsyncGenerator[Answer, None]:
    """Delete a document from this device."""
    found = context.find(arguments.text("document"))
    await context.node.forget(found.id)
    context.shares.forget(found.id)
    yield describe_document(found)
