"""No device may have more logs than an honest one needs: each costs all others memory, for good."""

import asyncio

import pytest

from domain import limits
from domain.identifiers import LogId, LogKey
from domain.operations.operation import Operation
from domain.sync.forwarding import LATE_S_MAX
from tests.simulation.hostile import Hostile, own_update
from tests.simulation.village import Village, Villager, play, until_refused


def test_more_logs_than_a_device_may_have_are_refused(seed: int) -> None:
    async def attack(village: Village) -> None:
        connection = await village.attack()
        mallory = village.mallory
        latest: Operation | None = None
        for _ in range(limits.LOGS_PER_DEVICE_MAX + 1):
            log_id = LogId(mallory.machine.entropy.draw(LogId.LENGTH))
            previous = (latest.operation_id,) if latest else None
            latest = mallory.update(b"\0\0", log_id=log_id, previous=previous)
            await mallory.send(connection, latest)
        await until_refused(village, "too-many-logs")

    play(seed, attack)


def logs_side_by_side(mallory: Hostile, count: int, after: Operation) -> list[Operation]:
    """The first operations of so many logs, each of which builds on one operation and on nothing else."""
    return [
        mallory.update(
            b"\0\0",
            log_id=LogId(mallory.machine.entropy.draw(LogId.LENGTH)),
            previous=(after.operation_id,),
        )
        for _ in range(count)
    ]


def logs_of_mallory(village: Village, who: Villager) -> set[LogKey]:
    return {log for log in who.state.heights if log.author == village.mallory.machine.key.peer}


@pytest.mark.parametrize("waiting", [False, True], ids=["one by one", "let in together"])
def test_logs_begun_side_by_side_are_refused_from_their_author_beyond_a_bound(
    seed: int, waiting: bool
) -> None:
    async def attack(village: Village) -> None:
        connection = await village.attack()
        mallory = village.mallory
        first = mallory.update(own_update(mallory))
        second = mallory.update(b"\0\0", after=first)
        logs = logs_side_by_side(mallory, limits.LOGS_FROM_AUTHOR_MAX + 20, second)
        rest = [*logs, second] if waiting else [second, *logs]
        await mallory.send(connection, first, *rest)
        await until_refused(village, "too-many-logs")
        await village.alice.until_text_has("m")
        assert len(logs_of_mallory(village, village.alice)) <= limits.LOGS_FROM_AUTHOR_MAX + 1

    play(seed, attack)


def test_forks_of_one_place_are_refused_from_their_author_beyond_a_bound(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LOGS_FROM_AUTHOR_MAX", 8)

    async def attack(village: Village) -> None:
        connection = await village.attack()
        for number in range(12):
            rival = village.mallory.update(own_update(village.mallory, f"m{number}"))
            await village.mallory.send(connection, rival)
            await asyncio.sleep(1)
        await until_refused(village, "too-many-logs")
        assert len(logs_of_mallory(village, village.alice)) <= limits.LOGS_FROM_AUTHOR_MAX + 1

    play(seed, attack)


def test_logs_that_others_took_from_their_author_are_taken_from_them(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LOGS_FROM_AUTHOR_MAX", 20)

    async def attack(village: Village) -> None:
        mallory, network = village.mallory, village.world.network
        first = mallory.update(own_update(mallory))
        network.block("alice", "bob")
        for name in ("alice", "bob"):
            connection = await mallory.connect_to(village.world.machine(name))
            await mallory.send(connection, first, *logs_side_by_side(mallory, 30, first))
        await until_refused(village, "too-many-logs")
        await asyncio.sleep(1)
        network.unblock("alice", "bob")
        await village.check_unharmed()
        await asyncio.sleep(2 * LATE_S_MAX)
        held = logs_of_mallory(village, village.alice)
        assert held == logs_of_mallory(village, village.bob)
        assert limits.LOGS_FROM_AUTHOR_MAX < len(held) <= 2 * limits.LOGS_FROM_AUTHOR_MAX + 1

    play(seed, attack)
