"""Through NAT boxes with the socket that QUIC uses: STUN on it, punching from it, a relay beside it.

One coroutine watches what this network looks like from outside (`run`) and keeps the mapping of the socket alive; the
relay has one for each way to it. A relay is opened when somebody needs it, and kept where most peers would.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import nullcontext, suppress
from typing import Final

from adapters.nat.behavior import discover
from adapters.nat.judgement import Judgement
from adapters.nat.prediction import predict
from adapters.nat.relay import Entered, Relay, RelayError
from adapters.nat.stun import StunClient, is_stun
from adapters.quic.binding import BindingWatch
from adapters.quic.network import QuicNetwork
from adapters.quic.path import Path
from adapters.quic.source import RELAYED, Source, pair_of, to_socket_address
from adapters.quic.stun_servers import StunServers
from domain.connectivity.address import Address
from domain.connectivity.candidate import Candidate, CandidateKind, is_probable
from domain.connectivity.diagnosis import ServerReport, TraversalReport
from domain.connectivity.nat import NatBehavior, can_punch, keepalive_s, keeps_relay
from domain.connectivity.port_mapping import PortMappingState
from domain.connectivity.probe import ProbeKey
from domain.connectivity.server import TurnServer
from domain.connectivity.verdict import NatVerdict
from domain.connectivity.witness import choose_witnessed
from domain.errors import DialError, NetworkError
from domain.identifiers import PeerId
from domain.identity import DeviceKey
from domain.limits import CANDIDATES_MAX, PREDICTION_S, PUNCHES_MAX
from domain.ports.environment import Clock, Entropy
from domain.ports.network import Connection
from domain.ports.port_mapping import PortMapper
from domain.ports.traversal import Traversal

_logger: Final = logging.getLogger(__name__)

PUNCH_S_MAX: Final = 6.0
HAIRPIN_S_MAX: Final = 1.0
FRESH_S_MAX: Final = 1.0
FIRST_LOOK_S_MAX: Final = 3.0
MIRRORS_MAX: Final = 8
MIRROR_S_MAX: Final = 0.5
RELAY_RETRY_S: Final = 30.0
ADDRESSES_S: Final = 1.0
"""How often the system is asked for the addresses of this machine, which takes it 0.2 ms."""


class QuicTraversal(Traversal):
    """The NAT traversal of a `QuicNetwork`; made before that is started.

    Args:
        network: Whose socket it uses.
        stun: STUN servers; those with two addresses tell how the NAT filters.
        turn: TURN servers.
        clock: The time.
        entropy: For STUN requests.
        mapper: Gets the router to forward our port; None where it is not to be asked.
        predicts: Whether ports that the NAT may give next are offered, where it gives each peer another.
        entered: Where the sockets of the relay are opened.
    """

    def __init__(  # noqa: PLR0913 - each comes from elsewhere
        self,
        network: QuicNetwork,
        *,
        stun: Sequence[Address],
        turn: Sequence[TurnServer],
        clock: Clock,
        entropy: Entropy,
        mapper: PortMapper | None = None,
        predicts: bool = False,
        entered: Entered = nullcontext,
    ) -> None:
        self._network = network
        self._mapper = mapper
        self._clock = clock
        self._entropy = entropy
        self._predicts = predicts
        self._predicted_at: float | None = None
        self._stun = StunClient(clock=clock, entropy=entropy, send=self._send_stun)
        self._servers = StunServers(stun, self._stun, lambda: network.endpoint.socket.family)
        self._relay = Relay(
            turn,
            clock=clock,
            receive=self._take_relayed,
            lost=self._lose_relay,
            entered=entered,
        )
        self._judgement = Judgement(clock)
        self._binding = BindingWatch(
            network, self._judgement, servers=self._servers.answering, clock=clock, entropy=entropy
        )
        self._judged: frozenset[str] = frozenset()
        self._has_verdict = asyncio.Event()
        self._mirrors: dict[
            PeerId, None
        ] = {}  # who tells us as what we are seen, beside STUN servers
        self._turn = 0
        self._looked = asyncio.Event()
        self._stir = asyncio.Event()
        self._is_elsewhere = False
        self._moved = asyncio.Event()
        self._troubled: dict[PeerId, None] = {}
        self._trouble_came = asyncio.Event()
        self._hairpin: asyncio.Future[None] | None = None
        network.receive_other = self._take

    def workers(self) -> list[Callable[[], Coroutine[None, None, None]]]:
        """What has to run for as long as the network does."""
        mapping = [self._keep_mapping] if self._mapper is not None else []
        watching = [self._run, self._watch_addresses, self._binding.run]
        return [*watching, *mapping, *self._relay.workers()]

    # --- The port ---

    @property
    def nat(self) -> NatBehavior:
        return self._judgement.behavior

    @property
    def verdict(self) -> NatVerdict | None:
        return self._judgement.verdict

    def recall(self, verdict: NatVerdict) -> None:
        self._judgement.recall(verdict, self._local_hosts)

    async def judged(self) -> NatVerdict:
        return await self._judgement.changed()

    @property
    def has_relay(self) -> bool:
        return bool(self._relay.ways)

    async def candidates(
        self, *, with_relay: bool, is_fresh: bool, witnesses: Sequence[PeerId] = ()
    ) -> tuple[Candidate, ...]:
        if not self._looked.is_set() or self._is_asking_router:
            await self._wait_for_first_look()
        elif is_fresh:
            asked = self._servers.start_asking()
            await self._relay.check()
            await self._servers.hear(asked, FRESH_S_MAX)
        if with_relay and self._relay.ways:
            with suppress(RelayError):
                await self._open_relay()
        is_seen = self._servers.mapped or self._seen_by(self._mirrors)
        if not is_seen:  # what is offered would not say where we are outside
            await self._network.endpoint.paths.until_observed(witnesses, MIRROR_S_MAX)
        return self._list_candidates(witnesses)

    async def predicted(self) -> tuple[Candidate, ...]:
        now, servers = self._clock.now(), self._servers.answering()
        if not (self._predicts and self.nat.is_symmetric and servers):
            return ()
        if self._predicted_at is not None and now < self._predicted_at + PREDICTION_S:
            return ()
        self._predicted_at = now
        try:
            found = await predict(
                self._binding.open, servers[0], clock=self._clock, entropy=self._entropy
            )
        except NetworkError:
            return ()
        return tuple(Candidate(CandidateKind.SERVER_REFLEXIVE, each) for each in found)

    def punch(
        self,
        peer: PeerId,
        key: ProbeKey,
        candidates: Sequence[Candidate],
        nat: NatBehavior,
        *,
        is_stranger: bool = False,
    ) -> None:
        is_mapped = self._mapped is not None or any(
            each.kind is CandidateKind.PORT_MAPPED for each in candidates
        )
        hopeless = not is_mapped and not can_punch(self.nat, nat)
        self._network.endpoint.paths.punch(
            peer, key, candidates, hopeless=hopeless, is_stranger=is_stranger
        )

    async def dial_punched(
        self, peer: PeerId, found: Callable[[], None] = lambda: None
    ) -> Connection:
        path = await self._network.endpoint.paths.punched(peer, PUNCH_S_MAX)
        found()
        return await self._network.dial_on(peer, path)

    async def dial_by_relay(self, peer: PeerId, addresses: Sequence[str]) -> Connection:
        return await self._dial_by_relay(peer, addresses, None)

    async def dial_as(
        self, key: DeviceKey, peer: PeerId, addresses: Sequence[str], *, by_relay: bool
    ) -> Connection:
        if by_relay:
            return await self._dial_by_relay(peer, addresses, key)
        connection = await self._network.dial(peer, addresses, key=key)
        self._mirrors = dict.fromkeys([peer, *self._mirrors][:MIRRORS_MAX])
        if not self._servers.mapped:  # the first offer would not say where we are outside
            await self._network.endpoint.paths.until_observed([peer], MIRROR_S_MAX)
        return connection

    async def trouble(self) -> PeerId:
        while not self._troubled:
            self._trouble_came.clear()
            await self._trouble_came.wait()
        peer = next(iter(self._troubled))
        del self._troubled[peer]
        return peer

    async def moved(self) -> None:
        await self._moved.wait()
        self._moved.clear()

    def is_dark(self, peer: PeerId) -> bool:
        path = self._find_path(peer)
        return path is not None and path.prober is not None and path.prober.table.is_dark

    def is_relayed(self, peer: PeerId) -> bool | None:
        path = self._find_path(peer)
        return path.is_relayed if path is not None else None

    def _find_path(self, peer: PeerId) -> Path | None:
        return None if self._network.is_closed else self._network.endpoint.paths.find(peer)

    async def examine(self) -> TraversalReport:
        # What was found stays: a box lets servers in that were sent something, so asking again tells less.
        await self._has_verdict.wait()
        if self._mapper is not None:
            await self._mapper.settled()
        await self._servers.ask()
        if not self._is_judged:
            await self._look()
        if self._relay.ways:
            with suppress(RelayError):
                await self._open_relay()
        hairpins = await self._try_hairpin()
        return TraversalReport(
            nat=self.nat,
            local=self._network.find_local_addresses(),
            stun=self._servers.reports(),
            turn=tuple(
                ServerReport(
                    server=f"{way.server} over {way.transport}",
                    round_trip_s=way.took_s,
                    mapped=self._relay.address if way is self._relay.way else None,
                    error=way.error,
                )
                for way in self._relay.ways
            ),
            hairpins=hairpins,
            port_mapping=self._mapper.report if self._mapper is not None else None,
            binding_s=self._judgement.binding_s,
        )

    # --- Watching the network ---

    async def _keep_mapping(self) -> None:
        assert self._mapper is not None
        await self._network.wait_started()
        local = self._network.endpoint.socket.local
        await self._mapper.run(Address.from_host(local[0], local[1]))

    async def _wait_for_first_look(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_LOOK_S_MAX):
                await self._looked.wait()
                if self._mapper is not None:
                    await self._mapper.settled()

    @property
    def _is_asking_router(self) -> bool:
        mapper = self._mapper
        return mapper is not None and mapper.report.state is PortMappingState.ASKING

    @property
    def _mapped(self) -> Address | None:
        return self._mapper.report.external if self._mapper is not None else None

    async def _run(self) -> None:
        await self._network.wait_started()
        endpoint = self._network.endpoint
        endpoint.send_by_relay = self._relay.send
        endpoint.paths.troubled = self._note_trouble
        try:
            await self._look()
            while True:
                binding_s = self._judgement.binding_s
                with suppress(TimeoutError):
                    async with asyncio.timeout(keepalive_s(binding_s)):
                        await self._stir.wait()
                self._stir.clear()
                before, bound = self._hosts_outside, set(self._servers.mapped)
                await self._servers.ask()
                await self._servers.ask_missing()
                if self._hosts_outside == before and not bound.issuperset(self._servers.mapped):
                    self._judgement.distrust_binding(binding_s)
                if self._is_elsewhere or self._hosts_outside != before:
                    self._is_elsewhere = False
                    self._look_at_mapping()
                    await self._look()
                if keeps_relay(self.nat):
                    await self._keep_relay()
        finally:
            self._stun.close()
            self._relay.close()

    async def _watch_addresses(self) -> None:
        """Notice that this machine is in another network: its addresses say so before any packet is missed."""
        await self._network.wait_started()
        before = self._reachable_addresses()
        while True:
            await asyncio.sleep(ADDRESSES_S)
            if self._network.is_closed:
                return
            now = self._reachable_addresses()
            if now - before:  # one that goes away is no news for whoever waits for one
                _logger.info("network.moved", extra={"addresses": len(now)})
                self._is_elsewhere = True
                self._judgement.doubt(self._local_hosts)
                self._stir.set()
                self._look_at_mapping()
                self._network.endpoint.paths.doubt()
                self._moved.set()
            before = now

    def _look_at_mapping(self) -> None:
        if self._mapper is not None:
            self._mapper.look_again()

    def _reachable_addresses(self) -> frozenset[Address]:
        return frozenset(filter(is_probable, self._network.find_local_addresses()))

    async def _look(self) -> None:
        """Find out how this network behaves."""
        await self._servers.resolve()
        await self._servers.ask()
        self._looked.set()
        hosts, outside = self._local_hosts, self._servers.mapped
        self._judgement.doubt(hosts, outside)
        behavior = await discover(self._stun, self._servers.known, hosts)
        self._judgement.settle(behavior, hosts, outside)
        self._judged = frozenset(each.host for each in outside)
        self._has_verdict.set()
        _logger.info("nat.behavior", extra={"behavior": self.nat.name})
        if keeps_relay(self.nat):
            await self._keep_relay()

    async def _keep_relay(self) -> None:
        if self._relay.ways:
            with suppress(RelayError):
                await self._open_relay()

    @property
    def _local_hosts(self) -> frozenset[str]:
        return frozenset(each.host for each in self._network.find_local_addresses())

    @property
    def _hosts_outside(self) -> frozenset[str]:
        return frozenset(each.host for each in self._servers.mapped)

    @property
    def _is_judged(self) -> bool:
        """Whether it is known how this very network behaves."""
        return bool(self._judged) and self._judged == self._hosts_outside

    def _list_candidates(self, witnesses: Iterable[PeerId]) -> tuple[Candidate, ...]:
        found: dict[Address, CandidateKind] = {}
        for address in self._network.find_local_addresses():
            found.setdefault(address, CandidateKind.HOST)
        if self._mapped is not None:
            found.setdefault(self._mapped, CandidateKind.PORT_MAPPED)
        for mapped in self._servers.mapped:
            found.setdefault(mapped, CandidateKind.SERVER_REFLEXIVE)
        self._turn += 1
        for group in (self._mirrors, witnesses):  # so that members keep no server of ours out
            seen, outside = self._seen_by(group), self._servers.mapped
            for each in choose_witnessed(seen, told=found, outside=outside, turn=self._turn):
                found[each] = CandidateKind.SERVER_REFLEXIVE
        relayed = self._relay.address
        if relayed is not None:
            found.setdefault(relayed, CandidateKind.RELAYED)
        listed = [
            Candidate(kind, address) for address, kind in found.items() if is_probable(address)
        ]
        return tuple(listed[-CANDIDATES_MAX:])

    def _seen_by(self, peers: Iterable[PeerId]) -> list[Address]:
        seen = map(self._network.endpoint.paths.observed_by, peers)
        return [each for each in seen if each is not None]

    def _note_trouble(self, peer: PeerId) -> None:
        if len(self._troubled) < PUNCHES_MAX:
            self._troubled[peer] = None
        self._trouble_came.set()

    async def _try_hairpin(self) -> bool | None:
        mapped = next(iter(self._servers.mapped), None)
        if mapped is None:
            return None
        self._hairpin = asyncio.get_running_loop().create_future()
        request = self._stun.ask(mapped)
        await asyncio.wait([self._hairpin], timeout=HAIRPIN_S_MAX)
        request.cancel()
        hairpins, self._hairpin = self._hairpin.done(), None
        self._judgement.note_hairpin(hairpins)
        return hairpins

    # --- Datagrams ---

    def _send_stun(self, data: bytes, to: Address) -> None:
        endpoint = self._network.endpoint
        target = to_socket_address(to, endpoint.socket.family)
        if target is not None:
            endpoint.carry([data], target)

    def _take(self, data: bytes, source: Source) -> None:
        if not is_stun(data):
            return
        is_request = data[0] == 0
        if is_request and self._hairpin is not None and self._stun.is_ours(data):
            if not self._hairpin.done():
                self._hairpin.set_result(None)
            return
        self._stun.receive(data, pair_of(source).address)

    def _take_relayed(self, data: bytes, source: tuple[str, int]) -> None:
        with suppress(NetworkError):
            self._network.endpoint.receive([(data, (*source, RELAYED))])

    # --- The relay ---

    async def _open_relay(self) -> Address:
        address = await self._relay.open()
        self._network.endpoint.paths.add_relay()
        return address

    def _lose_relay(self) -> None:
        _logger.info("relay.lost")
        with suppress(NetworkError):
            self._network.endpoint.paths.drop_relay()
        self._stir.set()

    async def _dial_by_relay(
        self, peer: PeerId, addresses: Sequence[str], key: DeviceKey | None
    ) -> Connection:
        try:
            await self._open_relay()
        except RelayError as error:
            raise DialError(f"there is no relay: {error}") from error
        return await self._network.dial_by_relay(peer, addresses, key=key)
