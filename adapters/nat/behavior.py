"""Finds out how a NAT behaves (RFC 5780), by asking servers from the socket whose mapping matters.

Filtering is tried first: once something was sent to the second address of a server, what comes from there says
nothing any more. That is also why an answer is to be kept, not asked for again before the network has changed.
"""

import asyncio
from collections.abc import Collection, Sequence
from typing import Final

from adapters.nat.stun import StunAnswer, StunClient, StunError
from domain.connectivity.address import Address
from domain.connectivity.nat import Filtering, Mapping, NatBehavior

FILTER_S: Final = 0.8
"""Three transmissions of what should not come through: under a round trip of 300 ms."""


async def discover(
    stun: StunClient, servers: Sequence[Address], local_hosts: Collection[str]
) -> NatBehavior:
    """Find out how the NAT between us and the servers behaves.

    Args:
        stun: The client, on the socket in question.
        servers: Their addresses; one with two addresses of its own tells more.
        local_hosts: The IP addresses of this machine.
    """
    answers = await _ask_all(stun, servers)
    if not answers:
        return NatBehavior(Mapping.BLOCKED if servers else Mapping.UNKNOWN)
    for server, answer in answers.items():
        if answer.other is not None and answer.other.host != server.host:
            filtering = await _find_filtering(stun, server, answer.other)
            mapping = await _find_mapping(stun, server, answer)
            break
    else:
        filtering = Filtering.UNKNOWN
        seen = {answer.mapped for answer in answers.values()}
        mapping = Mapping.UNKNOWN if len(answers) == 1 else Mapping.ENDPOINT_INDEPENDENT
        if len(seen) > 1:
            mapping = Mapping.ADDRESS_AND_PORT_DEPENDENT
    if all(answer.mapped.host in local_hosts for answer in answers.values()):
        mapping = Mapping.NONE
    return NatBehavior(mapping, filtering)


async def _ask_all(stun: StunClient, servers: Sequence[Address]) -> dict[Address, StunAnswer]:
    asked = [(server, stun.ask(server)) for server in servers]
    answers = [(server, await _answer(future)) for server, future in asked]
    return {server: answer for server, answer in answers if answer is not None}


async def _find_filtering(stun: StunClient, server: Address, other: Address) -> Filtering:
    from_anywhere = stun.ask(server, change=(True, True), answered_from=other)
    from_other_port = stun.ask(
        server, change=(False, True), answered_from=Address(server.host, other.port)
    )
    await asyncio.wait([from_anywhere, from_other_port], timeout=FILTER_S)
    heard = [each.done() and each.exception() is None for each in (from_anywhere, from_other_port)]
    from_anywhere.cancel()
    from_other_port.cancel()
    if heard[0]:
        return Filtering.ENDPOINT_INDEPENDENT
    return Filtering.ADDRESS_DEPENDENT if heard[1] else Filtering.ADDRESS_AND_PORT_DEPENDENT


async def _find_mapping(stun: StunClient, server: Address, first: StunAnswer) -> Mapping:
    assert first.other is not None
    second = await _answer(stun.ask(Address(first.other.host, server.port)))
    if second is None:
        return Mapping.UNKNOWN
    if second.mapped == first.mapped:
        return Mapping.ENDPOINT_INDEPENDENT
    third = await _answer(stun.ask(first.other))
    if third is not None and third.mapped == second.mapped:
        return Mapping.ADDRESS_DEPENDENT
    return Mapping.ADDRESS_AND_PORT_DEPENDENT


async def _answer(asked: asyncio.Future[StunAnswer]) -> StunAnswer | None:
    try:
        return await asked
    except StunError:
        return None
