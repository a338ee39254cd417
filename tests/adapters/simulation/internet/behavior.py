"""Finds out how a NAT behaves, by RFC 5780, over one socket: as a node would."""

import asyncio
from dataclasses import dataclass

from aioice.stun import Class, Message, Method, parse_message

from adapters.simulation.internet.datagram import SocketName
from adapters.simulation.internet.host import Host
from adapters.simulation.internet.nat import Dependence
from adapters.simulation.internet.packet import Endpoint
from tests.adapters.simulation.internet.datagrams import Inbox, open_inbox

BOTH, PORT = 0x06, 0x02
TRIES = 5
TIMEOUT_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Behavior:
    """What was found; `mapped` is None if no datagram came through."""

    mapped: Endpoint | None
    mapping: Dependence | None = None
    filtering: Dependence | None = None


class StunClient:
    """Sends Binding requests from one socket."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._count = 0

    async def ask(self, server: SocketName, change: int = 0) -> Message | None:
        """Ask again and again; None if there is no answer: where 4 % get lost, that is so once in ten million times."""
        self._count += 1
        request = Message(Method.BINDING, Class.REQUEST, self._count.to_bytes(12, "big"))
        if change:
            request.attributes["CHANGE-REQUEST"] = change
        for _ in range(TRIES):
            self._inbox.send(bytes(request), server)
            deadline = asyncio.get_running_loop().time() + TIMEOUT_S
            while (left_s := deadline - asyncio.get_running_loop().time()) > 0:
                found = await self._inbox.receive(left_s)
                if found is not None:
                    answer = parse_message(found[0])
                    if answer.transaction_id == request.transaction_id:
                        return answer
        return None

    async def mapped(self, server: SocketName) -> Endpoint | None:
        """What a server sees of us."""
        answer = await self.ask(server)
        return None if answer is None else answer.attributes["XOR-MAPPED-ADDRESS"]


async def discover(host: Host, server: Endpoint) -> Behavior:
    """Find out how the NAT before a host behaves."""
    inbox = await open_inbox(host)
    client = StunClient(inbox)
    try:
        first = await client.ask(server)
        if first is None:
            return Behavior(mapped=None)
        # What lets in comes first: asking elsewhere would open the way for answers from there.
        if await client.ask(server, BOTH) is not None:
            filtering = Dependence.ENDPOINT_INDEPENDENT
        elif await client.ask(server, PORT) is not None:
            filtering = Dependence.ADDRESS_DEPENDENT
        else:
            filtering = Dependence.ADDRESS_AND_PORT_DEPENDENT
        mapped, other = first.attributes["XOR-MAPPED-ADDRESS"], first.attributes["OTHER-ADDRESS"]
        elsewhere = await client.mapped((other[0], server[1]))
        if elsewhere == mapped:
            mapping = Dependence.ENDPOINT_INDEPENDENT
        elif await client.mapped(other) == elsewhere:
            mapping = Dependence.ADDRESS_DEPENDENT
        else:
            mapping = Dependence.ADDRESS_AND_PORT_DEPENDENT
        return Behavior(mapped=mapped, mapping=mapping, filtering=filtering)
    finally:
        inbox.transport.close()
