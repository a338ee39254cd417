"""Measures our own nodes: a writer and a reader in processes of their own, then a new member, then a cold start."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from node.demo.process import WorkerProcess, ask_all, start_module, start_worker
from node.demo.stage import correlate, percentile_ms

TAP_PACE_S: Final = 0.05  # an edit that far from the last is alone
COLD_OPENS: Final = 3


class BenchmarkError(Exception):
    """A replica ended with another text: then no figure means anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured.

    Args:
        trace: The editing trace.
        edits: How many of its transactions; None for all.
        taps: Lone edits whose latency is measured.
        signed: Operations of one edit each that a new member receives.
    """

    trace: Path
    edits: int | None
    taps: int
    signed: int


async def measure_nodes(plan: Plan, directory: Path) -> dict[str, Any]:
    """Measure everything about our nodes once; the keys are those of the benchmark's output."""
    async with AsyncExitStack() as stack:
        writer, reader, newcomer = [
            await stack.enter_async_context(start_worker(directory / name))
            for name in ("writer", "reader", "newcomer")
        ]
        await ask_all([writer, reader, newcomer], "open")
        async with start_worker(directory / "warm") as warm:
            await warm.ask("open")
            await _warm_up(newcomer, warm)
        clients = [(await writer.ask("create", name="benchmark"))["client"]]
        invite = (await writer.ask("invite", uses=2))["invite"]
        clients.append((await reader.ask("join", invite=invite))["client"])
        loaded = await writer.ask(
            "load", trace=str(plan.trace.resolve()), author=0, edits=plan.edits
        )
        live = await _type_live(writer, reader, clients, loaded["edits"])
        taps = await _type_alone(writer, reader, clients, plan.taps)
        catch_up = await _catch_up(newcomer, invite)
        await _compare([writer, reader, newcomer])
        await reader.stop()
        cold = [await _open_cold(directory / "reader") for _ in range(COLD_OPENS)]
        empty = (await _open_cold(directory / "warm"))[1]
        document = await _measure_document(directory / "reader")
    received = await _receive(plan.signed, directory)
    per_second = live["edits"] / catch_up["seconds"]
    memory = catch_up.pop("memory_bytes")
    return {
        "live": live,
        **taps,
        "catch_up": catch_up,
        "cold_open_ms": min(seconds for seconds, _ in cold) * 1e3,
        "receive": {"operations_per_s": received, "edits_per_s": per_second},
        "memory_bytes": memory,
        "memory_opened_bytes": min(memory for _, memory in cold) - empty,
        "document_memory_bytes": document,
    }


async def _type_live(
    writer: WorkerProcess, reader: WorkerProcess, clients: list[int], edits: int
) -> dict[str, Any]:
    before = await ask_all([writer, reader], "count")
    typed = await writer.ask("type", author=0, clients=clients)
    arrived = await reader.ask("wait", heights=typed["heights"])
    after = await ask_all([writer, reader], "count")
    await ask_all([writer, reader], "samples")
    return {
        "seconds": arrived["ended"] - typed["started"],
        "edits": edits,
        "operations": after[0]["operations"] - before[0]["operations"],
        "wire_bytes": _sent(after) - _sent(before),
        "update_bytes": after[0]["update_bytes"] - before[0]["update_bytes"],
        "body_bytes": after[0]["body_bytes"] - before[0]["body_bytes"],
        "writer_processor_s": after[0]["processor_s"] - before[0]["processor_s"],
        "reader_processor_s": after[1]["processor_s"] - before[1]["processor_s"],
    }


def _sent(counts: list[dict[str, Any]]) -> int:
    return sum(count["bytes_sent"] for count in counts)


async def _type_alone(
    writer: WorkerProcess, reader: WorkerProcess, clients: list[int], count: int
) -> dict[str, Any]:
    before = await ask_all([writer, reader], "count")
    typed = await writer.ask("tap", count=count, pace_s=TAP_PACE_S)
    await reader.ask("wait", heights=typed["heights"])
    after = await ask_all([writer, reader], "count")
    latencies = correlate(await ask_all([writer, reader], "samples"), clients)
    return {
        "latency_ms": {"p50": percentile_ms(latencies, 50), "p99": percentile_ms(latencies, 99)},
        "lone_edit_bytes": (_sent(after) - _sent(before)) / count,
    }


async def _warm_up(worker: WorkerProcess, host: WorkerProcess) -> None:
    """Let a node do everything once: what it loads for its first document and connection is not that of another."""
    await host.ask("create", name="warming up")
    await host.ask("tap", count=10)
    invite = (await host.ask("invite", uses=1))["invite"]
    await worker.ask("join", invite=invite)


async def _catch_up(newcomer: WorkerProcess, invite: str) -> dict[str, Any]:
    before = await newcomer.ask("count_process")
    joined = await newcomer.ask("join", invite=invite)
    after = await newcomer.ask("count_process")
    return {
        "seconds": joined["seconds"],
        "operations": joined["operations"],
        "processor_s": after["processor_s"] - before["processor_s"],
        "memory_bytes": after["memory_bytes"] - before["memory_bytes"],
    }


async def _compare(workers: list[WorkerProcess]) -> None:
    looks = await ask_all(workers, "look")
    if len({look["digest"] for look in looks}) != 1:
        raise BenchmarkError(f"the replicas differ: {looks}")


async def _open_cold(directory: Path) -> tuple[float, int]:
    """Open a node in a new process; give how long that takes until the text is read, and the memory of all of it."""
    async with start_worker(directory) as worker:
        opened_s = float((await worker.ask("open"))["open_s"])
        return opened_s, int((await worker.ask("count_process"))["memory_bytes"])


async def _measure_document(directory: Path) -> int:
    """Give the memory that the document takes as a pycrdt document, without a node."""
    async with start_worker(directory) as worker:
        await worker.ask("open")
        update = (await worker.ask("export"))["update"]
    async with start_module("scripts.bench.document_memory") as measuring:
        return int((await measuring.ask("load", update=update))["memory_bytes"])


async def _receive(signed: int, directory: Path) -> float:
    """Let a new member receive operations of one edit each; give operations a second of its processor time."""
    async with AsyncExitStack() as stack:
        writer = await stack.enter_async_context(start_worker(directory / "signer"))
        reader = await stack.enter_async_context(start_worker(directory / "receiver"))
        await ask_all([writer, reader], "open")
        await _warm_up(reader, writer)
        await writer.ask("create", name="benchmark")
        await writer.ask("tap", count=signed)
        invite = (await writer.ask("invite", uses=1))["invite"]
        caught_up = await _catch_up(reader, invite)
        await _compare([writer, reader])
        return float(caught_up["operations"] / caught_up["processor_s"])
