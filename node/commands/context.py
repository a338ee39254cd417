"""What a command works with, and how it finds the document that somebody means."""

import re
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from domain.errors import UnknownDocumentError, UsageError
from node.commands.arguments import Arguments
from node.document import Document
from node.node import DocumentInfo, Node
from node.shares import Shares

Answer = Mapping[str, object]
PREFIX_DIGITS_MIN: Final = 4
_PREFIX: Final = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandContext:
    """The node that a command is carried out on.

    Args:
        node: The node.
        directory: Its data directory.
        shares: Which files follow which documents.
        mirrored: The files that are being mirrored now.
    """

    node: Node
    directory: Path
    shares: Shares
    mirrored: set[str] = field(default_factory=set)

    def find(self, meant: str) -> DocumentInfo:
        """Find a document by its id, its exact name, or at least four hex digits that only its id begins with.

        One that is damaged is found as well, by its id: opening it says what is wrong, and it can be forgotten.

        Raises:
            UnknownDocumentError: There is none.
            UsageError: There are several.
        """
        damaged = self.node.damaged_documents()
        documents = [
            *self.node.documents(),
            *(DocumentInfo(id=each, name="", role=None) for each in damaged),
        ]
        by_name = [each for each in documents if each.name == meant]
        digits = meant.lower()
        by_id = [each for each in documents if str(each.id).startswith(digits)]
        if len(digits) < PREFIX_DIGITS_MIN or not _PREFIX.fullmatch(digits):
            by_id = []
        found = by_name or by_id
        if not found:
            raise UnknownDocumentError(
                f"there is no document {meant!r} here: `culm documents` lists those that there are"
            )
        if len(found) > 1:
            ids = ", ".join(str(each.id)[:16] for each in found)
            raise UsageError(f"{meant!r} may mean several documents: use the id of one ({ids})")
        return found[0]

    async def open(self, meant: str) -> Document:
        """Open the document that somebody means; see `find`."""
        return await self.node.document(self.find(meant).id)


Command = Callable[[CommandContext, Arguments], AsyncGenerator[Answer, None]]


def describe_damaged(node: Node) -> list[dict[str, str]]:
    """Give the documents that are on disk and cannot be opened, as JSON has them."""
    return [
        {"document": str(document), "reason": str(reason)}
        for document, reason in node.damaged_documents().items()
    ]


def describe_document(document: Document | DocumentInfo) -> dict[str, object]:
    """Give a document in short, as JSON has it."""
    role = document.role
    return {
        "document": str(document.id),
        "name": document.name,
        "role": role.name.lower() if role is not None else None,
    }
