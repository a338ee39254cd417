import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from adapters.simulation.errors import DeadlockError, RunawayError, SimulationError
from adapters.simulation.loop import VirtualTimeLoop, run


async def forever(seed: int) -> None:
    await asyncio.Event().wait()


def test_time_passes_only_in_the_simulation() -> None:
    async def scenario(seed: int) -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        started = loop.time()
        await asyncio.sleep(86_400)
        return started, loop.time()

    started, ended = run(scenario, 1)
    assert started == 0.0
    assert ended == pytest.approx(86_400)


def test_a_timeout_passes_in_virtual_time() -> None:
    async def scenario(seed: int) -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(7):
                await forever(seed)
        return asyncio.get_running_loop().time()

    assert run(scenario, 1) == pytest.approx(7)


def test_a_deadlock_is_an_error_that_says_who_waits_where_and_the_seed() -> None:
    with pytest.raises(DeadlockError, match=r"test_loop\.py:\d+ \(forever\)") as caught:
        run(forever, 4711)
    assert any("seed 4711" in note for note in caught.value.__notes__)


def test_a_deadlock_is_found_behind_timers_that_were_cancelled() -> None:
    async def scenario(seed: int) -> None:
        asyncio.get_running_loop().call_later(5, print).cancel()
        await forever(seed)

    with pytest.raises(DeadlockError):
        run(scenario, 1)


def test_what_never_ends_is_an_error() -> None:
    async def scenario(seed: int) -> None:
        while True:  # noqa: ASYNC110 - that it polls is the point
            await asyncio.sleep(60)

    with pytest.raises(RunawayError):
        run(scenario, 1, virtual_s_max=3_600)


def test_polling_is_an_error() -> None:
    async def scenario(seed: int) -> None:
        while True:  # noqa: ASYNC110 - that it polls is the point
            await asyncio.sleep(0)

    with pytest.raises(RunawayError, match="time stands still"):
        run(scenario, 1)


async def _thread() -> None:
    await asyncio.to_thread(print)


async def _look_up() -> None:
    await asyncio.get_running_loop().getaddrinfo("localhost", 80)


async def _connect() -> None:
    await asyncio.open_connection("127.0.0.1", 80)


async def _listen() -> None:
    await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)


async def _datagrams() -> None:
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))


async def _unix() -> None:
    await asyncio.open_unix_connection("/tmp/nowhere")


async def _process() -> None:
    await asyncio.create_subprocess_exec("true")


async def _shell() -> None:
    await asyncio.create_subprocess_shell("true")


async def _file_descriptor() -> None:
    asyncio.get_running_loop().add_reader(0, print)


async def _signal() -> None:
    asyncio.get_running_loop().add_signal_handler(10, print)


REFUSED = [
    _thread, _look_up, _connect, _listen, _datagrams, _unix, _process, _shell, _file_descriptor, _signal,
]  # fmt: skip


@pytest.mark.parametrize("refused", REFUSED)
def test_what_cannot_be_simulated_is_refused(
    refused: Callable[[], Coroutine[Any, Any, None]],
) -> None:
    async def scenario(seed: int) -> None:
        await refused()

    with pytest.raises(SimulationError, match="not possible in a simulation"):
        run(scenario, 1)


def test_a_refusal_that_is_swallowed_fails_the_scenario_all_the_same() -> None:
    async def scenario(seed: int) -> None:
        with pytest.raises(SimulationError):
            await _thread()

    with pytest.raises(SimulationError, match="thread"):
        run(scenario, 1)


def test_another_thread_may_not_call_the_loop() -> None:
    refused = []

    async def scenario(seed: int) -> None:
        loop = asyncio.get_running_loop()

        def call() -> None:
            try:
                loop.call_soon_threadsafe(print)
            except SimulationError as error:
                refused.append(error)

        thread = threading.Thread(target=call)
        thread.start()
        thread.join()

    with pytest.raises(SimulationError, match="another thread"):
        run(scenario, 1)
    assert len(refused) == 1


def test_a_loop_opens_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socketpair", fail)
    monkeypatch.setattr(socket.socket, "__init__", fail)
    VirtualTimeLoop().close()


def test_tasks_of_a_group_are_cancelled_in_the_order_in_which_they_were_started() -> None:
    cancelled: list[int] = []

    async def wait(number: int) -> None:
        try:
            await forever(0)
        except asyncio.CancelledError:
            cancelled.append(number)
            raise

    async def scenario(seed: int) -> None:
        with pytest.raises(ExceptionGroup):  # noqa: PT012 - the group is what raises
            async with asyncio.TaskGroup() as group:
                for number in range(50):
                    group.create_task(wait(number))
                await asyncio.sleep(1)
                raise ValueError("enough")

    run(scenario, 1)
    assert cancelled == list(range(50))
