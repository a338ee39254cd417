"""One dial: the addresses of a peer are tried close upon each other, and the first that proves to be the peer stays.

As RFC 8305 has it, one that is silent costs the next one a moment, not the time after which it is given up. Only one
gets beyond TLS, since a listener lets the newer of two connections from one side take the place of the older: the first
behind which the key of the peer is proven ends all others, before any of them says hello. Who answers and is somebody
else ends nothing: the peer may be silent at another address, and come back there.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from typing import Final

from adapters.quic.boundary import TIMER_SLACK_S
from adapters.quic.connection import PeerConnection
from adapters.quic.path import Path
from adapters.quic.source import Source
from domain.connectivity.address import AddressError, parse_address
from domain.connectivity.close_codes import CloseCode
from domain.connectivity.strategy import Action, handshake_error, hello_error, strategy_of
from domain.errors import DialError, HandshakeError, HandshakeTimedOutError, NetworkError
from domain.limits import ADDRESSES_DIALLED_MAX, DIAL_STAGGER_S
from domain.ports.environment import Clock

Begin = Callable[[Path, Callable[[PeerConnection], None]], PeerConnection]
"""Makes a connection, given a path and whom to tell that the peer's key is proven; it has not sent anything."""
_NEVER: Final = float("inf")


class Dial:
    """An attempt to reach one peer; used once.

    Args:
        clock: The time.
        begin: Makes connections.
        resolve: Finds the socket addresses behind an address.
        silent_s_max: An address that has not answered after so long is given up.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        begin: Begin,
        resolve: Callable[[str], Awaitable[list[Source]]],
        silent_s_max: float,
    ) -> None:
        self._clock = clock
        self._begin = begin
        self._resolve = resolve
        self._silent_s_max = silent_s_max
        self._flight: dict[PeerConnection, tuple[str, float]] = {}
        self._winner: PeerConnection | None = None
        self._looking_up: asyncio.Timeout | None = None
        self._failures: list[str] = []
        self._refusals: list[tuple[str, HandshakeError]] = []

    async def run(self, addresses: Sequence[str]) -> PeerConnection:
        """Connect to the peer at one of its addresses, the best first; cancelled, nothing stays behind.

        Raises:
            DialError: At one address at least nobody answered.
            HandshakeError: At each of them somebody else did, or the peer, but we could not agree.
            ConnectionLostError: The peer did, and has ended the connection again.
        """
        try:
            await self._try_all(addresses)
            return await self._agree()
        except BaseException:
            for each in self._flight:
                each.close(CloseCode.NORMAL, "the dial was given up")
            raise

    async def _agree(self) -> PeerConnection:
        if self._winner is None:
            raise self._failure()
        await self._winner.settled
        check_agreed(self._winner, self._silent_s_max)
        return self._winner

    async def _try_all(self, addresses: Sequence[str]) -> None:
        for text in sorted(dict.fromkeys(addresses), key=_is_name):  # to look one up takes time
            for remote in await self._look_up(text):
                if self._winner is not None:
                    return
                self._start(text, remote)
                await self._wait(self._clock.now() + DIAL_STAGGER_S, ADDRESSES_DIALLED_MAX - 1)
        await self._wait(_NEVER, 0)

    async def _look_up(self, text: str) -> list[Source]:
        if self._winner is not None:
            return []
        try:
            async with asyncio.timeout(self._silent_s_max) as self._looking_up:
                return await self._resolve(text)
        except TimeoutError:
            self._failures.append(f"{text}: the name is not found")
        except (AddressError, DialError, OSError) as error:
            self._failures.append(f"{text}: {error}")
        finally:
            self._looking_up = None
        return []

    def _start(self, text: str, remote: Source) -> None:
        connection = self._begin(Path(remote), self._win)
        self._flight[connection] = text, _NEVER
        connection.dial()
        # From now on, however long that took: a process that stood still has heard nobody meanwhile.
        self._flight[connection] = text, self._clock.now() + self._silent_s_max

    def _win(self, connection: PeerConnection) -> None:
        """The peer is there: no other may say hello."""
        self._winner = connection
        for each in self._flight:
            if each is not connection:
                each.close(CloseCode.NORMAL, "another address answered first")
        if self._looking_up is not None and not self._looking_up.expired():
            self._looking_up.reschedule(asyncio.get_running_loop().time())

    async def _wait(self, until: float, left_max: int) -> None:
        """Let what is under way go on until then, and until so little of it is left; no longer than it may matter."""
        while self._winner is None:
            now = self._clock.now() + TIMER_SLACK_S
            self._collect(now)
            if not self._flight or (now >= until and len(self._flight) <= left_max):
                return
            silent = [at for each, (_, at) in self._flight.items() if not each.has_heard]
            due = min([at for at in (*silent, until) if at > now], default=_NEVER)
            await asyncio.wait(
                [each.settled for each in self._flight],
                timeout=None if due == _NEVER else due - now + 2 * TIMER_SLACK_S,
                return_when=asyncio.FIRST_COMPLETED,
            )

    def _collect(self, now: float) -> None:
        """Take out what has come to nothing."""
        for connection, (text, silent_until) in tuple(self._flight.items()):
            is_silent = not connection.has_heard and silent_until <= now
            if not is_silent and not connection.settled.done():
                continue
            del self._flight[connection]
            try:
                check_agreed(connection, self._silent_s_max)
            except HandshakeError as error:
                self._refusals.append((text, error))
            except DialError as error:
                self._failures.append(f"{text}: {error}")
            connection.close(CloseCode.NORMAL, "the dial was given up")

    def _failure(self) -> NetworkError:
        if self._refusals and not self._failures:
            errors = [error for _, error in self._refusals]
            return min(errors, key=lambda each: strategy_of(each).action is Action.GIVE_UP)
        told = [*self._failures, *(f"{text}: {error}" for text, error in self._refusals)]
        return DialError(
            f"nobody answered ({'; '.join(told)})" if told else "no addresses are known",
            refused=[
                text
                for text, error in self._refusals
                if not isinstance(error, HandshakeTimedOutError)
            ],
        )


def check_agreed(connection: PeerConnection, silent_s_max: float) -> None:
    """See that the hello of a connection is done.

    Raises:
        DialError: Nobody has answered.
        HandshakeError: Whoever did has not agreed.
        ConnectionLostError: It was the peer, and for it the connection had begun, and ended.
    """
    if connection.agreement is None:
        lost = connection.lost
        if lost is None or not connection.has_heard:
            raise DialError(f"no answer within {silent_s_max:g} s")
        if connection.has_proven:
            raise hello_error(lost.code, str(lost), by_peer=lost.by_peer)
        raise handshake_error(lost.code, str(lost))


def _is_name(text: str) -> bool:
    try:
        ip_address(parse_address(text).host)
    except (AddressError, ValueError):
        return True
    return False
