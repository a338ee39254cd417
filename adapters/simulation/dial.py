"""One attempt to reach a peer: knocks at all of its addresses at once; the first that answers rightly wins.

Only the winner is told that it won, so that one dial never makes two connections. What is lost on the way is sent
again until the time for a hello is over.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from adapters.simulation.connection import SimulatedConnection
from adapters.simulation.link import Link
from domain.connectivity.close_codes import CloseCode
from domain.connectivity.lifecycle import Lifecycle, State, Step
from domain.connectivity.strategy import handshake_error
from domain.errors import DialError, NetworkError
from domain.identifiers import PeerId
from domain.limits import DIAL_S_MAX, HELLO_S_MAX

RESEND_S: Final = 0.5
"""How long after something got lost it is sent again."""


class Endpoint(Protocol):
    """Who dials, or is dialled."""

    @property
    def peer(self) -> PeerId:
        """Whose it is."""

    @property
    def host(self) -> str:
        """The host that it is on."""

    @property
    def network_id(self) -> str:
        """Which nodes it speaks to."""

    @property
    def versions(self) -> Sequence[int]:
        """The protocol versions that it speaks."""

    @property
    def is_crowded(self) -> bool:
        """Whether it takes no more connections for now."""


class Ways(Protocol):
    """What lies between endpoints."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Whose time passes."""

    def host_of(self, address: str) -> str:
        """The host in an address."""

    def link(self, sender: str, receiver: str) -> Link:
        """The way from one host to another."""

    def is_reachable(self, one: str, other: str) -> bool:
        """Whether anything gets from one host to the other now."""

    def listener(self, address: str) -> Endpoint | None:
        """Who listens at an address."""


class Dial:
    """An attempt that is under way.

    Args:
        network: What lies between.
        dialler: Who dials.
        peer: Who is to answer.
        addresses: Where it may be.
        lifecycle: Takes the steps of the attempt.
        connect: Makes the connection to whoever listens at an address, and gives the dialler's end.
    """

    def __init__(
        self,
        network: Ways,
        dialler: Endpoint,
        peer: PeerId,
        addresses: Sequence[str],
        lifecycle: Lifecycle,
        connect: Callable[[str], SimulatedConnection],
    ) -> None:
        self._network = network
        self._lifecycle = lifecycle
        self._dialler = dialler
        self._connect = connect
        self._peer = peer
        self._open = list(dict.fromkeys(addresses))
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._winner: str | None = None
        self._refused: list[str] = []
        self._connection: SimulatedConnection | None = None
        self._result: asyncio.Future[SimulatedConnection] = network.loop.create_future()

    async def run(self) -> SimulatedConnection:
        """Dial, and wait for the outcome.

        Raises:
            DialError: Nobody answered.
            HandshakeError: Whoever answered was somebody else.
        """
        self._take(Step.INITIALIZE)
        if not self._open:
            raise DialError("the peer has no address to dial")
        self._take(Step.CONNECT)
        loop = self._network.loop
        deadlines = [
            loop.call_later(DIAL_S_MAX, self._give_up_unless_answered),
            loop.call_later(HELLO_S_MAX, self._give_up),
        ]
        try:
            for address in self._open:
                self._step(address, self._knock, is_outward=True)
            return await self._result
        except BaseException:
            if self._connection is not None:
                self._connection.close(CloseCode.NORMAL, "the dialler has given up")
            raise
        finally:
            for timer in (*deadlines, *self._timers.values()):
                timer.cancel()

    def fail(self, error: NetworkError) -> None:
        """End it with that error."""
        if not self._result.done():
            self._result.set_exception(error)

    # --- What happens where, in this order ---

    def _knock(self, address: str) -> None:
        """Reach the host: if somebody listens, he says who he is."""
        if self._network.listener(address) is None:
            self._step_again(address, self._knock)
        else:
            self._step(address, self._hear_who_it_is, is_outward=False)

    def _hear_who_it_is(self, address: str) -> None:
        """Learn, at the dialler, who answers; if it is the right one and the first, accept him."""
        listener = self._network.listener(address)
        if listener is None:
            self._step_again(address, self._knock)
            return
        if self._lifecycle.state is State.CONNECTING:
            self._take(Step.HEAR)
        if listener.network_id != self._dialler.network_id:
            self._refuse(address, CloseCode.WRONG_NETWORK, "belongs to another network")
        elif not set(listener.versions) & set(self._dialler.versions):
            self._refuse(address, CloseCode.VERSION_NOT_SUPPORTED, "speaks other versions")
        elif listener.peer != self._peer:
            self._refuse(address, CloseCode.HANDSHAKE_FAILED, f"is {listener.peer.short}")
        elif self._winner is None:
            self._winner = address
            self._take(Step.AUTHENTICATE)
            self._step(address, self._introduce, is_outward=True)

    def _introduce(self, address: str) -> None:
        """Tell the listener who we are: for him the connection begins now."""
        listener = self._network.listener(address)
        if listener is None or listener.peer != self._peer:
            self.fail(DialError(f"{address} stopped answering"))
            return
        if listener.is_crowded:
            self.fail(handshake_error(CloseCode.RESOURCES, f"{address} has too much to do"))
            return
        self._connection = self._connect(address)
        self._step(address, self._succeed, is_outward=False)

    def _succeed(self, address: str) -> None:
        """Hear that the listener has accepted us: for us the connection begins now."""
        assert self._connection is not None
        if self._result.done():
            return
        if self._connection.is_over:
            self.fail(DialError(f"{address} closed the connection at once"))
        else:
            for step in (Step.PROVE, Step.ENCRYPT, Step.CONFIRM):
                self._take(step)
            self._result.set_result(self._connection)

    def _take(self, step: Step) -> None:
        self._lifecycle.take(step, now=self._network.loop.time())

    # --- Ways and failures ---

    def _step(self, address: str, action: Callable[[str], None], *, is_outward: bool) -> None:
        here, there = self._dialler.host, self._network.host_of(address)
        sender, receiver = (here, there) if is_outward else (there, here)
        loop = self._network.loop
        arrival = self._network.link(sender, receiver).arrival(loop.time(), 0)

        def arrive() -> None:
            if self._network.is_reachable(sender, receiver):
                action(address)
            else:
                self._timers[address] = loop.call_later(RESEND_S, arrive)

        self._timers[address] = loop.call_at(arrival, arrive)

    def _step_again(self, address: str, action: Callable[[str], None]) -> None:
        """Send again what nobody answered."""
        self._timers[address] = self._network.loop.call_later(RESEND_S, action, address)

    def _refuse(self, address: str, code: int, what: str) -> None:
        self._refused.append(address)
        self._open.remove(address)
        if not self._open:
            detail = f"the node at {address} {what}, not {self._peer.short}"
            self.fail(handshake_error(code, detail))

    def _give_up_unless_answered(self) -> None:
        if self._winner is None:
            self._give_up()

    def _give_up(self) -> None:
        if self._winner is not None:
            code, detail = CloseCode.HANDSHAKE_TIMED_OUT, f"{self._winner} fell silent in the hello"
            self.fail(handshake_error(code, detail))
            return
        detail = f"nobody answered at {', '.join(self._open)}"
        self.fail(DialError(detail, refused=self._refused))
