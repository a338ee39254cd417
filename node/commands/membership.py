"""Commands about who may do what in a document: members, devices, role, remove, leave, revoke."""

from collections.abc import AsyncGenerator

from domain.errors import UsageError
from domain.identifiers import PeerId
from domain.operations.device import DeviceMetadata
from node.commands.arguments import Arguments
from node.commands.context import (
    PREFIX_DIGITS_MIN,
    Answer,
    CommandContext,
    describe_document,
)
from node.document import Document


async def members(context: CommandContext, arguments: Arguments) -> AsyncGenerator[Answer, None]:
    """List the members."""
    document = await context.open(arguments.text("document"))
    listed = sorted(document.members().items(), key=lambda each: (-each[1], each[0]))
    yield describe_document(document) | {
        "members": [
            {
                "peer": str(peer),
                "role": role.name.lower(),
                "person": str(document.person(peer)),
                "is_own": peer == context.node.peer_id,
            }
            for peer, role in listed
        ]
    }


async def devices(context: CommandContext, arguments: Arguments) -> AsyncGenerator[Answer, None]:
    """List the member devices by person, with what each says about itself; first say something about this one."""
    document = await context.open(arguments.text("document"))
    name, capabilities = arguments.optional_text("name"), arguments.texts("capabilities")
    if name is not None or capabilities:
        known = document.devices().get(context.node.peer_id, DeviceMetadata(name=""))
        await document.describe_device(
            known.name if name is None else name, capabilities or known.capabilities
        )
    said = document.devices()
    listed = sorted(document.members(), key=lambda peer: (document.person(peer) or peer, peer))
    yield describe_document(document) | {
        "devices": [
            {
                "peer": str(peer),
                "name": said[peer].name if peer in said else "",
                "capabilities": list(said[peer].capabilities) if peer in said else [],
                "person": str(document.person(peer)),
                "role": document.members()[peer].name.lower(),
                "is_own": peer == context.node.peer_id,
            }
            for peer in listed
        ]
    }


async def set_role(context: CommandContext, arguments: Arguments) -> AsyncGenerator[Answer, None]:
    """Give a member another role."""
    document = await context.open(arguments.text("document"))
    member, role = find_member(document, arguments.text("member")), arguments.text("role")
    await document.set_role(member, role)
    yield describe_document(document) | {"peer": str(member), "role": role.lower()}


async def remove(context: CommandContext, arguments: Arguments) -> AsyncGenerator[Answer, None]:
    """Remove a member."""
    document = await context.open(arguments.text("document"))
    member = find_member(document, arguments.text("member"))
    await document.remove(member)
    yield describe_document(document) | {"peer": str(member)}


async def leave(context: CommandContext, arguments: Arguments) -> AsyncGenerator[Answer, None]:
    """Give up our own membership."""
    document = await context.open(arguments.text("document"))
    await document.leave()
    yield describe_document(document)


async def revoke(context: CommandContext, arguments: Arguments) -> AsyncGenerator[Answer, None]:
    """Take the power of an invite."""
    document = await context.open(arguments.text("document"))
    key = await document.revoke(arguments.text("invite"))
    yield describe_document(document) | {"invite": str(key)}


def find_member(document: Document, meant: str) -> PeerId:
    """Find a member by its peer id, or by at least four hex digits that begin it alone."""
    digits = meant.lower()
    found = [peer for peer in document.members() if str(peer).startswith(digits)]
    if len(digits) < PREFIX_DIGITS_MIN or not found:
        raise UsageError(
            f"there is no member {meant!r}: `culm members` lists them, and at least"
            f" {PREFIX_DIGITS_MIN} digits of a peer id are needed"
        )
    if len(found) > 1:
        raise UsageError(f"{meant!r} may mean several members: give more digits")
    return found[0]
