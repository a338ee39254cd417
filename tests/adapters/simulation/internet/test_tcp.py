"""TCP connections: in order and whole, whatever the lines do; refused, reset and timed out as real ones."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adapters.simulation.errors import SimulationError
from adapters.simulation.internet.host import Host
from adapters.simulation.internet.internet import Internet
from adapters.simulation.internet.line import BurstLoss, LineOptions
from adapters.simulation.internet.nat import SYMMETRIC
from adapters.simulation.internet.router import ONLY_TCP_443
from adapters.simulation.loop import run
from tests.adapters.simulation.internet.datagrams import new_internet, until

SERVER, CLIENT = "192.0.2.1", "192.0.2.2"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def serving(internet: Internet, serve: Serve, port: int = 80) -> AsyncIterator[Host]:
    transports = []

    async def serve_and_remember(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        transports.append(writer.transport)
        await serve(reader, writer)

    with internet.host("server").entered():
        server = await asyncio.start_server(serve_and_remember, SERVER, port)
    async with server:
        yield internet.host("server")
    for transport in transports:
        transport.abort()
    await asyncio.sleep(0)


async def connect(host: Host, port: int = 80) -> Streams:
    with host.entered():
        return await asyncio.open_connection(SERVER, port)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(10_000):
        writer.write(data)
        await writer.drain()
    writer.close()


def pair(seed: int, options: LineOptions) -> tuple[Internet, Host]:
    internet = new_internet(seed)
    internet.public_host("server", SERVER, options=options)
    return internet, internet.public_host("client", CLIENT, options=options)


async def send_and_hear(streams: Streams, data: bytes) -> bytes:
    reader, writer = streams

    async def send() -> None:
        writer.write(data)
        await writer.drain()
        writer.write_eof()

    sending = asyncio.create_task(send())
    heard = await reader.read()
    await sending
    writer.close()
    await writer.wait_closed()
    return heard


LOSSY = LineOptions(
    delay_s=0.0,
    queue_bytes=10_000,
    loss=0.046875,
    burst_loss=BurstLoss(fall=0.01, recover=0.7),
    duplication=0.00390625,
    reordering=0.0078125,
)


@settings(max_examples=25)
@example(LOSSY, 338, 49_001)
@given(
    st.builds(
        LineOptions,
        delay_s=st.floats(0, 0.1),
        jitter_s=st.floats(0, 0.05),
        bytes_per_s=st.one_of(st.none(), st.floats(100_000, 1e7)),
        queue_bytes=st.integers(10_000, 100_000),
        loss=st.floats(0, 0.05),
        burst_loss=st.one_of(st.none(), st.just(BurstLoss(fall=0.01, recover=0.7))),
        duplication=st.floats(0, 0.1),
        reordering=st.floats(0, 0.1),
    ),
    st.integers(0, 2**32),
    st.integers(0, 200_000),
)
def test_everything_arrives_in_order_whatever_the_line_does(
    options: LineOptions, line_seed: int, size: int
) -> None:
    data = Random(line_seed).randbytes(size)

    async def scenario(seed: int) -> bytes:
        internet, client = pair(seed, options)
        async with serving(internet, echo):
            return await send_and_hear(await connect(client), data)

    assert run(scenario, line_seed) == data


async def test_it_passes_a_symmetric_nat_and_a_firewall_that_allows_443(seed: int) -> None:
    internet = new_internet(seed)
    internet.public_host("server", SERVER)
    _, inside = internet.router("office", "203.0.113.1", nat=SYMMETRIC, firewall=ONLY_TCP_443)
    client = internet.host("client")
    client.attach(inside, "10.0.0.2")
    seen = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("peername"))
        await echo(reader, writer)

    async with serving(internet, serve, 443), serving(internet, serve, 80):
        assert await send_and_hear(await connect(client, 443), b"hello") == b"hello"
        with pytest.raises(TimeoutError):
            await connect(client, 80)
    assert [address for address, _ in seen] == ["203.0.113.1"]


async def test_nobody_listens_is_refused_and_nobody_there_times_out(seed: int) -> None:
    internet, client = pair(seed, LineOptions())
    with pytest.raises(ConnectionRefusedError):
        await connect(client)
    internet.partition(["server"])
    started = asyncio.get_running_loop().time()
    with pytest.raises(TimeoutError):
        await connect(client)
    assert asyncio.get_running_loop().time() - started > 60
    client.detach(client.interfaces[0])
    with pytest.raises(OSError, match="no way"):
        await connect(client)


async def test_a_connection_outlives_an_outage(seed: int) -> None:
    internet, client = pair(seed, LineOptions())
    async with serving(internet, echo):
        reader, writer = await connect(client)
        client.interfaces[0].set_up(is_up=False)
        writer.write(b"patience")
        await asyncio.sleep(10)
        client.interfaces[0].set_up(is_up=True)
        assert await reader.readexactly(8) == b"patience"
        writer.close()
        await writer.wait_closed()


async def test_a_server_that_crashed_resets_what_it_no_longer_knows(seed: int) -> None:
    internet, client = pair(seed, LineOptions())
    async with serving(internet, echo) as host:
        reader, writer = await connect(client)
        await asyncio.sleep(0.1)
        host.crash()
        writer.write(b"are you there?")
        with pytest.raises(ConnectionResetError):
            await reader.read()


async def test_a_peer_that_vanished_is_noticed_by_who_sends(seed: int) -> None:
    internet, client = pair(seed, LineOptions())
    async with serving(internet, echo):
        reader, writer = await connect(client)
        internet.partition(["server"])
        writer.write(b"are you there?")
        with pytest.raises(TimeoutError):
            await reader.read()


async def test_a_slow_reader_slows_the_writer_down(seed: int) -> None:
    internet, client = pair(seed, LineOptions())
    may_read = asyncio.Event()
    size = 3_000_000
    heard = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await may_read.wait()
        heard.append(await reader.read())
        writer.close()

    async with serving(internet, serve):
        _, writer = await connect(client)
        sent = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                while sent < size:
                    writer.write(bytes(10_000))
                    sent += 10_000
                    await writer.drain()
        assert sent < 1_000_000
        may_read.set()
        writer.write(bytes(size - sent))
        writer.write_eof()
        await until(lambda: bool(heard))
        assert len(heard[0]) == size
        writer.close()
        await writer.wait_closed()


async def test_abort_resets_the_peer(seed: int) -> None:
    internet, client = pair(seed, LineOptions())
    ended: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read()
        except ConnectionResetError as error:
            ended.set_result(error)

    async with serving(internet, serve):
        _, writer = await connect(client)
        await asyncio.sleep(0.1)
        writer.transport.abort()
        assert isinstance(await ended, ConnectionResetError)


async def test_connections_leave_nothing_behind(seed: int) -> None:
    internet, client = pair(seed, LineOptions(loss=0.05))
    async with serving(internet, echo) as host:
        for _ in range(10):
            assert await send_and_hear(await connect(client), b"x" * 5_000) == b"x" * 5_000
        await asyncio.sleep(200)
        assert not client._streams
        assert not client._receivers
        assert not host._streams


def test_tls_is_refused(seed: int) -> None:
    async def scenario(seed: int) -> None:
        _, client = pair(seed, LineOptions())
        with client.entered():
            await asyncio.open_connection(SERVER, 443, ssl=True)

    with pytest.raises(SimulationError, match="TLS"):
        run(scenario, seed)
