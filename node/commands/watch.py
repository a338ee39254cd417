"""The command watch, and how an event is written as JSON."""

import dataclasses
import re
from collections.abc import AsyncGenerator, Mapping
from enum import Enum

from domain.events import DocumentEvent, Event
from domain.identifiers import Identifier
from node.commands.arguments import Arguments
from node.commands.context import Answer, CommandContext


async def watch(context: CommandContext, arguments: Arguments) -> AsyncGenerator[Answer, None]:
    """Tell what happens, of one document or of all, until cancelled."""
    meant = arguments.optional_text("document")
    wanted = context.find(meant).id if meant is not None else None

    def wants(event: Event) -> bool:
        return wanted is None or (isinstance(event, DocumentEvent) and event.document == wanted)

    events = context.node.listen(wants)
    yield {"event": "watching", "document": str(wanted) if wanted is not None else None}
    async for event in events:
        yield _describe(event) | _name(context, event)


def _name(context: CommandContext, event: Event) -> dict[str, object]:
    if isinstance(event, DocumentEvent):
        for info in context.node.documents():
            if info.id == event.document:
                return {"name": info.name}
    return {}


def _describe(event: Event) -> dict[str, object]:
    """Write an event as a JSON object: its type as `event`, then what it says; edits by their number alone."""
    kind = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", type(event).__name__).lower()
    fields = {field.name: _plain(getattr(event, field.name)) for field in dataclasses.fields(event)}
    return {"event": kind, **fields}


def _plain(value: object) -> object:
    match value:
        case Identifier():
            return str(value)
        case Enum():
            return value.name.lower()
        case Mapping():
            return dict(value)
        case bytes():
            return len(value)
        case frozenset() | tuple():
            return sorted(map(str, map(_plain, value)))
        case _:
            return value
