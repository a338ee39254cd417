"""An asyncio event loop on virtual time.

Time stands still while anything is ready to run, and then leaps to the next timer. There are no threads, processes
or signals: who asks for one is refused, and the scenario fails, even if the refusal is swallowed. Sockets are those of
a simulated internet, if the loop was given one, and refused as well if not. Nothing here draws from chance or reads a
clock, so a scenario runs the same way every time: callbacks in the order in which they were scheduled, tasks in sets
in the order in which they were started.
"""

import asyncio
import asyncio.base_events
import socket
import threading
from abc import abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context
from typing import Any, Final, NoReturn, Protocol, TypeVar, TypeVarTuple

from adapters.simulation.errors import DeadlockError, RunawayError, SimulationError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

VIRTUAL_S_MAX: Final = 30 * 86_400.0
"""How long a scenario may last unless it says otherwise: what goes on for longer does not end."""
TURNS_AT_ONE_INSTANT_MAX: Final = 1_000_000
"""After so many turns of the loop without a step in time, somebody is polling."""
CLOCK_RESOLUTION_S: Final = 1e-9
"""Timers that close together fire together: twice the step of a float after `VIRTUAL_S_MAX`, so that rounding can't
leave a timer just ahead for ever."""
TASKS_NAMED_MAX: Final = 20
ASYNCIO_FOLDER: Final = asyncio.__file__.removesuffix("__init__.py")


MakeProtocol = Callable[[], asyncio.BaseProtocol]


class SocketProvider(Protocol):
    """What opens sockets in place of the system. Addresses are pairs of a name or an IP address and a port."""

    @abstractmethod
    async def open_datagrams(
        self,
        make_protocol: MakeProtocol,
        local: Sequence[Any] | None,
        remote: Sequence[Any] | None,
        family: int,
    ) -> tuple[asyncio.DatagramTransport, asyncio.BaseProtocol]:
        """Open a UDP socket.

        Raises:
            OSError: As for a real one.
        """

    @abstractmethod
    async def open_stream(
        self, make_protocol: MakeProtocol, remote: Sequence[Any], local: Sequence[Any] | None
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Open a TCP connection.

        Raises:
            OSError: As for a real one.
        """

    @abstractmethod
    async def listen(
        self, make_protocol: MakeProtocol, addresses: Sequence[Sequence[Any]]
    ) -> asyncio.AbstractServer:
        """Listen for TCP connections.

        Raises:
            OSError: As for a real one.
        """

    @abstractmethod
    def resolve(self, name: str, *, family: int) -> list[str]:
        """Look up the IP addresses of a name.

        Raises:
            OSError: There are none.
        """


class VirtualTimeLoop(asyncio.base_events.BaseEventLoop):
    """An event loop whose time passes only when everybody waits.

    Args:
        virtual_s_max: After so many virtual seconds the loop raises `RunawayError`.

    Attributes:
        sockets: What opens sockets; while None they are refused.
    """

    def __init__(self, *, virtual_s_max: float = VIRTUAL_S_MAX) -> None:
        super().__init__()
        self._clock_resolution = CLOCK_RESOLUTION_S
        self._selector = _Leap(self, virtual_s_max)
        self._tasks_started = 0
        self.refusals: list[str] = []
        self.sockets: SocketProvider | None = None
        self.set_task_factory(_start_task)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._selector.now

    def number_task(self) -> int:
        """Count a task that is being started."""
        self._tasks_started += 1
        return self._tasks_started

    def check(self) -> None:
        """Say so if something was asked for that cannot be simulated.

        Raises:
            SimulationError: Something was.
        """
        if self.refusals:
            raise SimulationError("; ".join(self.refusals))

    # --- What asyncio's base class asks of a loop ---

    def _process_events(self, event_list: list[None]) -> None:
        """Handle what a selector reported: ours reports nothing."""

    def _write_to_self(self) -> None:
        """Wake the loop from another thread."""
        if self._thread_id not in (None, threading.get_ident()):
            self._refuse("calling the loop from another thread")

    _thread_id: int | None

    # --- What is refused ---

    def _refuse(self, what: str) -> NoReturn:
        self.refusals.append(f"{what} is not possible in a simulation")
        raise SimulationError(self.refusals[-1])

    # The parameters are those of asyncio, of which we look at what matters here.
    # ruff: noqa: ANN401, ARG002

    def run_in_executor(
        self, executor: Any, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Refuse threads."""
        self._refuse("running something in a thread or another process")

    async def create_unix_connection(self, *_args: Any, **_named: Any) -> Any:
        """Refuse sockets."""
        self._refuse("opening a Unix socket")

    async def create_unix_server(self, *_args: Any, **_named: Any) -> Any:
        """Refuse sockets."""
        self._refuse("listening on a Unix socket")

    async def subprocess_exec(self, *_args: Any, **_named: Any) -> Any:
        """Refuse processes."""
        self._refuse("starting a process")

    async def subprocess_shell(self, *_args: Any, **_named: Any) -> Any:
        """Refuse processes."""
        self._refuse("starting a process")

    def add_reader(self, fd: Any, callback: Callable[[*Ts], object], *args: *Ts) -> None:
        """Refuse file descriptors."""
        self._refuse("waiting for a file descriptor")

    def add_writer(self, fd: Any, callback: Callable[[*Ts], object], *args: *Ts) -> None:
        """Refuse file descriptors."""
        self._refuse("waiting for a file descriptor")

    def add_signal_handler(self, sig: Any, callback: Callable[[*Ts], object], *args: *Ts) -> None:
        """Refuse signals."""
        self._refuse("waiting for a signal")

    # --- Sockets of the simulated internet ---

    async def create_datagram_endpoint(  # type: ignore[override] # without the options of real sockets
        self,
        protocol_factory: MakeProtocol,
        local_addr: Sequence[Any] | None = None,
        remote_addr: Sequence[Any] | None = None,
        *,
        family: int = 0,
        sock: Any = None,
        **_named: Any,
    ) -> tuple[asyncio.DatagramTransport, asyncio.BaseProtocol]:
        """Open a UDP socket of the simulated internet."""
        if self.sockets is None or sock is not None:
            self._refuse("opening a UDP socket")
        return await self.sockets.open_datagrams(protocol_factory, local_addr, remote_addr, family)

    async def create_connection(  # type: ignore[override] # without the options of real sockets
        self,
        protocol_factory: MakeProtocol,
        host: str | None = None,
        port: int | None = None,
        *,
        ssl: Any = None,
        sock: Any = None,
        local_addr: Sequence[Any] | None = None,
        **_named: Any,
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Open a TCP connection over the simulated internet, without TLS."""
        if self.sockets is None or sock is not None or host is None:
            self._refuse("opening a TCP connection")
        if ssl:
            self._refuse("TLS over TCP")  # OpenSSL draws its own randomness
        return await self.sockets.open_stream(protocol_factory, (host, port), local_addr)

    async def create_server(  # type: ignore[override] # without the options of real sockets
        self,
        protocol_factory: MakeProtocol,
        host: str | Sequence[str] | None = None,
        port: int = 0,
        *,
        ssl: Any = None,
        sock: Any = None,
        **_named: Any,
    ) -> asyncio.AbstractServer:
        """Listen for TCP connections on the simulated internet, without TLS."""
        if self.sockets is None or sock is not None or host is None:
            self._refuse("listening for TCP connections")
        if ssl:
            self._refuse("TLS over TCP")
        hosts = [host] if isinstance(host, str) else host
        return await self.sockets.listen(protocol_factory, [(each, port) for each in hosts])

    async def getaddrinfo(
        self,
        host: Any,
        port: Any,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002 - as in asyncio
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """Look up a name of the simulated internet."""
        if self.sockets is None:
            self._refuse("looking up a name")
        found = self.sockets.resolve(host, family=family)
        return [
            (socket.AF_INET6, type, proto, "", (address, port or 0, 0, 0))
            if ":" in address
            else (socket.AF_INET, type, proto, "", (address, port or 0))
            for address in found
        ]


def run(
    scenario: Callable[[int], Coroutine[Any, Any, T]],
    seed: int,
    *,
    virtual_s_max: float = VIRTUAL_S_MAX,
) -> T:
    """Run `scenario(seed)` on a fresh virtual loop, until it returns, and give its result.

    An error carries a note that says the seed and the virtual time.

    Raises:
        DeadlockError: Nothing would ever have happened again.
        RunawayError: It took more than `virtual_s_max` virtual seconds, or went round at one instant.
        SimulationError: It asked for something that cannot be simulated, even if it swallowed the refusal.
    """
    loop = VirtualTimeLoop(virtual_s_max=virtual_s_max)
    try:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            result = runner.run(scenario(seed))
            loop.check()
            return result
    except BaseException as error:
        error.add_note(f"seed {seed}, at {loop.time():.6f} virtual seconds")
        raise


class _NumberedTask(asyncio.Task[Any]):
    """A task that sets order by when it was started, and not by where it lies in memory.

    `asyncio.TaskGroup` and `asyncio.Runner` cancel their tasks in the order of a set.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any], number: int, **named: Any) -> None:
        self._number = number
        super().__init__(coroutine, **named)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


def _start_task(
    loop: asyncio.AbstractEventLoop,
    coroutine: Any,  # asyncio's own type for it is private
    *,
    context: Context | None = None,
    **named: Any,  # newer versions of Python pass the name here, and more
) -> asyncio.Task[Any]:
    assert isinstance(loop, VirtualTimeLoop)
    return _NumberedTask(coroutine, loop.number_task(), loop=loop, context=context, **named)


class _Leap:
    """Stands where a loop has its selector: instead of waiting for files it moves the time on."""

    def __init__(self, loop: VirtualTimeLoop, virtual_s_max: float) -> None:
        self.now = 0.0
        self._loop = loop
        self._virtual_s_max = virtual_s_max
        self._turns = 0

    def select(self, timeout: float | None) -> list[None]:
        """Let `timeout` seconds pass; None means that nothing is scheduled."""
        if timeout is None:
            raise DeadlockError(f"nothing will ever happen; waiting: {_who_waits(self._loop)}")
        if timeout > 0:
            self._turns = 0
            self.now += timeout
            if self.now > self._virtual_s_max:
                waiting = _who_waits(self._loop)
                raise RunawayError(f"not over after {self._virtual_s_max} s; waiting: {waiting}")
        self._turns += 1
        if self._turns > TURNS_AT_ONE_INSTANT_MAX:
            raise RunawayError(f"time stands still at {self.now} s: {_who_waits(self._loop)}")
        return []

    def close(self) -> None:
        """Close nothing."""


def _who_waits(loop: VirtualTimeLoop) -> str:
    """Name the tasks that wait, oldest first, and the innermost line of each."""
    tasks = sorted(asyncio.all_tasks(loop), key=hash)
    places = [f"{task.get_name()} at {_innermost_line(task)}" for task in tasks[:TASKS_NAMED_MAX]]
    if len(tasks) > TASKS_NAMED_MAX:
        places.append(f"and {len(tasks) - TASKS_NAMED_MAX} more")
    return ", ".join(places) or "nobody"


def _innermost_line(task: asyncio.Task[Any]) -> str:
    """Find where a task waits: its innermost line outside asyncio itself."""
    waiting: Any = task.get_coro()
    place = "its start"
    while (frame := getattr(waiting, "cr_frame", None)) is not None:
        if not frame.f_code.co_filename.startswith(ASYNCIO_FOLDER):
            place = f"{frame.f_code.co_filename}:{frame.f_lineno} ({frame.f_code.co_name})"
        waiting = waiting.cr_await
    return place
