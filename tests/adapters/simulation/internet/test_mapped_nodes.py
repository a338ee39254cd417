"""Whole nodes whose routers forward a port to them, in virtual time."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from adapters.simulation.internet.gateway_service import NOT_AUTHORIZED, GatewayService
from adapters.simulation.internet.machine import NODE_PORT
from adapters.simulation.internet.nat import SYMMETRIC
from adapters.simulation.internet.reproducible import reproducible_transport
from domain.connectivity.candidate import Candidate, CandidateKind
from domain.connectivity.diagnosis import Severity, Verdict
from domain.errors import NetworkError
from domain.invite import Invite
from node import Node, NodeConfig
from tests.adapters.simulation.internet.datagrams import until
from tests.adapters.simulation.internet.nat_lab import LEFT, LISTEN, RIGHT, NatLab

OUTSIDE = {LEFT: f"203.0.113.1:{NODE_PORT}", RIGHT: f"203.0.113.2:{NODE_PORT}"}


class MappedLab(NatLab):
    """Two houses with symmetric boxes, of which some forward ports; there is no relay unless one is wanted.

    Args:
        seed: What chance follows.
        mapping: The houses whose boxes do.
        with_relay: Whether nodes use the relay.
    """

    def __init__(self, seed: int, *mapping: str, with_relay: bool = False) -> None:
        super().__init__(seed)
        self.is_asked = True
        self._with_relay = with_relay
        self.services: dict[str, GatewayService] = {}
        for number, name in enumerate((LEFT, RIGHT), 1):
            router = self.house(name, number, SYMMETRIC)
            if name in mapping:
                self.services[name] = router.serve(f"10.{number}.0.1")

    @property
    def config(self) -> NodeConfig:
        """How nodes run here: all ask their box."""
        used = super().config
        return replace(used, turn=used.turn if self._with_relay else (), port_mapping=self.is_asked)


@pytest.fixture(autouse=True)
async def _reproducible(seed: int) -> AsyncIterator[None]:
    with reproducible_transport(seed, asyncio.get_running_loop().time):
        yield


async def verdicts(node: Node) -> dict[str, Verdict]:
    return {each.code: each for each in await node.doctor()}


@pytest.mark.parametrize("with_relay", [False, True])
@pytest.mark.parametrize("mapping", [LEFT, RIGHT])
async def test_one_box_that_forwards_a_port_lets_two_symmetric_ones_meet_directly(
    seed: int, mapping: str, *, with_relay: bool
) -> None:
    lab = MappedLab(seed, mapping, with_relay=with_relay)
    async with lab.pair() as meeting:
        for author in (0, 1):
            await meeting.edit(author, f"by {author} ")
        assert meeting.path == "direct"
        assert with_relay or not lab.turn.allocations


async def test_without_such_a_box_they_do_not_meet(seed: int) -> None:
    with pytest.raises(NetworkError):
        async with MappedLab(seed).pair():
            pass


async def test_connection_stays_when_the_box_that_forwards_restarts(seed: int) -> None:
    lab = MappedLab(seed, RIGHT)
    async with lab.pair() as meeting:
        await meeting.edit(0, "before ")
        lab.services[RIGHT].restart(now=lab.loop.time())
        lab.routers[RIGHT].rebind()
        await asyncio.sleep(90)
        await meeting.edit(1, "after ")
        assert meeting.path == "direct"


async def test_invite_names_the_port_and_is_enough_to_join(seed: int) -> None:
    lab = MappedLab(seed, RIGHT)
    config = NodeConfig(listen=LISTEN, port_mapping=True)
    async with lab.node(RIGHT, config) as right, lab.node(LEFT, NodeConfig(listen=LISTEN)) as left:
        founded = await right.create("shared")  # at once: the first invite waits for the router
        founded.text("body").insert(0, "founded ")
        invite = await founded.invite()
        assert OUTSIDE[RIGHT] in Invite.decode(invite).addresses
        joined = await left.join(invite)
        await until(lambda: "founded" in str(joined.text("body")))


async def test_port_is_offered_with_its_kind(seed: int) -> None:
    lab = MappedLab(seed, RIGHT)
    async with lab.servers(), lab.node(RIGHT) as right:
        traversal = right.environment.traversal
        assert traversal is not None
        found = await traversal.candidates(with_relay=False, is_fresh=False)
        mapped = [each for each in found if each.kind is CandidateKind.PORT_MAPPED]
        assert [str(each.address) for each in mapped] == [OUTSIDE[RIGHT]]
        assert Candidate(CandidateKind.SERVER_REFLEXIVE, mapped[0].address) not in found


async def test_nobody_is_asked_unless_it_is_switched_on(seed: int) -> None:
    lab = MappedLab(seed, RIGHT)
    lab.is_asked = False
    async with lab.servers(), lab.node(RIGHT) as right:
        await asyncio.sleep(60)
        assert sum(lab.services[RIGHT].counts.values()) == 0
        assert "port-mapping-off" in await verdicts(right)


async def test_nobody_is_asked_for_a_node_on_loopback(seed: int) -> None:
    lab = MappedLab(seed, RIGHT)
    config = NodeConfig(listen=f"127.0.0.1:{NODE_PORT}", port_mapping=True)
    async with lab.node(RIGHT, config) as right:
        await asyncio.sleep(60)
        assert sum(lab.services[RIGHT].counts.values()) == 0
        assert "port-mapping-absent" in await verdicts(right)


async def test_doctor_says_that_it_works_and_the_port_goes_with_the_node(seed: int) -> None:
    lab = MappedLab(seed, RIGHT)
    async with lab.servers():
        async with lab.node(RIGHT) as right:
            verdict = (await verdicts(right))["port-mapping-works"]
            assert verdict.severity is Severity.GOOD
            assert OUTSIDE[RIGHT] in verdict.cause
            assert "PCP" in verdict.evidence
        forwarding = lab.routers[RIGHT].forwarding
        assert forwarding is not None
        assert forwarding.active(lab.loop.time()) == ()
        assert lab.services[RIGHT].counts["delete"] == 1


async def test_doctor_says_that_the_router_refuses_or_is_silent(seed: int) -> None:
    lab = MappedLab(seed, RIGHT)
    async with lab.servers():
        lab.services[RIGHT].refusal = NOT_AUTHORIZED
        async with lab.node(RIGHT) as right:
            assert "not authorized" in (await verdicts(right))["port-mapping-refused"].evidence
        lab.services[RIGHT].is_silent = True
        async with lab.node(RIGHT) as right:
            started = lab.loop.time()
            verdict = (await verdicts(right))["port-mapping-silent"]
            assert "10.2.0.1" in verdict.cause
            assert verdict.action
            assert lab.loop.time() - started < 10.0
        async with lab.node(LEFT) as left:  # that box has no address within
            assert "port-mapping-absent" in await verdicts(left)


async def test_box_behind_another_one_forwards_what_nobody_outside_reaches(seed: int) -> None:
    lab = NatLab(seed)
    _, between = lab.internet.router("carrier", "203.0.113.1", nat=SYMMETRIC, options=lab.options)
    router, inside = lab.internet.router("box", "100.64.0.2", nat=SYMMETRIC, outside=between)
    router.serve("10.1.0.1")
    lab.internet.host(LEFT).attach(inside, "10.1.0.2")
    async with lab.servers(), lab.node(LEFT, replace(lab.config, port_mapping=True)) as left:
        assert (await verdicts(left))["port-mapping-inside"].action
        invite = await (await left.create("shared")).invite()
        assert f"100.64.0.2:{NODE_PORT}" not in Invite.decode(invite).addresses
