"""Commands about letting devices in, and about the secrets that members share: confirm, waiting, rotate."""

from collections.abc import AsyncGenerator

from node.commands.arguments import Arguments
from node.commands.context import Answer, CommandContext, describe_document


async def confirm(context: CommandContext, arguments: Arguments) -> AsyncGenerator[Answer, None]:
    """Let in the device whose code was compared."""
    document = await context.open(arguments.text("document"))
    peer = await document.confirm(arguments.text("code"))
    role = document.members().get(peer)
    yield describe_document(document) | {
        "peer": str(peer),
        "role": role.name.lower() if role is not None else None,
    }


async def waiting(context: CommandContext, arguments: Arguments) -> AsyncGenerator[Answer, None]:
    """List the devices that wait to be let in."""
    document = await context.open(arguments.text("document"))
    yield describe_document(document) | {
        "waiting": [{"peer": str(peer), "code": code} for peer, code in document.waiting().items()]
    }


async def rotate(context: CommandContext, arguments: Arguments) -> AsyncGenerator[Answer, None]:
    """Make a new secret for what is written from now on."""
    document = await context.open(arguments.text("document"))
    await document.rotate()
    yield describe_document(document)
