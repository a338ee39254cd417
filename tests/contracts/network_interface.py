"""The contract of `NetworkInterface`: what every network between nodes must do, however it carries bytes.

A suite derives from `NetworkInterfaceContract` and overrides `open_network`: a function that makes an interface,
not yet started, for a device key; all that it makes can reach each other, without faults. An interface made with
`network_id` belongs to another network. Nothing here sleeps: where time has to pass, round trips pass it.
"""

import asyncio
import random
from abc import abstractmethod
from collections.abc import Awaitable

import pytest

from domain.errors import (
    AuthenticationError,
    ConnectionLostError,
    DialError,
    NetworkError,
    WrongNetworkError,
)
from domain.limits import KIB, MESSAGE_BYTES_MAX, MIB
from domain.ports.network import Channel, Priority
from tests.contracts.connected_peers import (
    SHUTTING_DOWN,
    TEST_S_MAX,
    NetworkFactory,
    StoppedReader,
    channel_name,
    connect,
    connected,
    device,
    receive_count,
    round_trips,
    round_trips_one_way,
    running,
    send_all,
)
from tests.contracts.connection_life import ConnectionLife

__all__ = ["NetworkFactory", "NetworkInterfaceContract"]

HELD_BYTES_MAX = 16 * MIB
"""What a connection may hold for a reader that has stopped, both ends together."""


class NetworkInterfaceContract(ConnectionLife):
    """What every `NetworkInterface` must do."""

    @pytest.fixture
    @abstractmethod
    def open_network(self) -> NetworkFactory:
        """How to make an interface."""

    # --- Dialling and accepting ---

    async def test_both_ends_know_each_other(self, open_network: NetworkFactory) -> None:
        async with connected(open_network) as (dialled, accepted):
            assert (dialled.peer, accepted.peer) == (device(2).peer, device(1).peer)
            assert (dialled.is_dialler, accepted.is_dialler) == (True, False)
            assert dialled.remote_address
            assert accepted.remote_address

    async def test_the_binding_is_shared_and_differs_between_connections(
        self, open_network: NetworkFactory
    ) -> None:
        alice, bob = open_network(device(1)), open_network(device(2))
        async with running(alice, bob):
            first, first_there = await connect(alice, bob, device(2))
            second, second_there = await connect(alice, bob, device(2))
            assert first.binding == first_there.binding
            assert second.binding == second_there.binding
            assert first.binding != second.binding
            assert len(first.binding) == 64

    async def test_the_instance_belongs_to_the_process_not_to_the_connection(
        self, open_network: NetworkFactory
    ) -> None:
        alice, bob, again = (
            open_network(device(1)),
            open_network(device(2)),
            open_network(device(1)),
        )
        async with running(alice, bob, again):
            first, there = await connect(alice, bob, device(2))
            second, there_too = await connect(alice, bob, device(2))
            _, elsewhere = await connect(again, bob, device(2))
            assert there.instance == there_too.instance
            assert first.instance == second.instance != there.instance
            assert elsewhere.instance != there.instance
            assert len(there.instance) == 16

    async def test_a_node_dials_and_accepts_at_once(self, open_network: NetworkFactory) -> None:
        alice, bob = open_network(device(1)), open_network(device(2))
        async with running(alice, bob):
            ours, theirs = await asyncio.gather(
                connect(alice, bob, device(2)), connect(bob, alice, device(1))
            )
            await round_trips(*ours)
            await round_trips(*theirs)

    async def test_the_wrong_peer_is_refused(self, open_network: NetworkFactory) -> None:
        alice, bob = open_network(device(1)), open_network(device(2))
        async with running(alice, bob):
            with pytest.raises(AuthenticationError):
                await alice.dial(device(3).peer, bob.addresses)

    async def test_another_network_is_refused(self, open_network: NetworkFactory) -> None:
        alice, bob = open_network(device(1)), open_network(device(2), network_id="another")
        async with running(alice, bob):
            with pytest.raises(WrongNetworkError):
                await alice.dial(device(2).peer, bob.addresses)

    async def test_nobody_there_is_a_dial_error(self, open_network: NetworkFactory) -> None:
        alice, bob = open_network(device(1)), open_network(device(2))
        async with running(alice):
            await bob.start()
            addresses = bob.addresses
            await bob.close(SHUTTING_DOWN, "gone")
            with pytest.raises(DialError):
                await alice.dial(device(2).peer, addresses)
            with pytest.raises(DialError):
                await alice.dial(device(2).peer, [])

    async def test_the_addresses_are_tried_in_turn(self, open_network: NetworkFactory) -> None:
        alice, bob, gone = open_network(device(1)), open_network(device(2)), open_network(device(3))
        async with running(alice, bob):
            await gone.start()
            addresses = gone.addresses[:1] + bob.addresses
            await gone.close(SHUTTING_DOWN, "gone")
            accepted, dialled = await asyncio.gather(
                bob.accept(), alice.dial(device(2).peer, addresses)
            )
            assert dialled.peer == device(2).peer
            assert accepted.peer == device(1).peer

    async def test_who_is_elsewhere_is_no_refusal_of_the_peer(
        self, open_network: NetworkFactory
    ) -> None:
        alice, bob, other = (open_network(device(number)) for number in (1, 2, 3))
        async with running(alice, bob, other):
            away = bob.addresses[0]
            await bob.close(SHUTTING_DOWN, "it comes back")
            taken = other.addresses[0]
            with pytest.raises(DialError) as caught:
                await alice.dial(device(2).peer, (taken, away))
            assert caught.value.refused == (taken,)

    async def test_a_cancelled_accept_loses_no_connection(
        self, open_network: NetworkFactory
    ) -> None:
        alice, bob = open_network(device(1)), open_network(device(2))
        async with running(alice, bob):
            waiting = asyncio.create_task(bob.accept())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            await alice.dial(device(2).peer, bob.addresses)
            assert (await bob.accept()).peer == device(1).peer

    async def test_a_cancelled_dial_leaves_the_interface_usable(
        self, open_network: NetworkFactory
    ) -> None:
        alice, bob = open_network(device(1)), open_network(device(2))
        async with running(alice, bob):
            dialling = asyncio.create_task(alice.dial(device(2).peer, bob.addresses))
            await asyncio.sleep(0)
            dialling.cancel()
            await asyncio.gather(dialling, return_exceptions=True)
            await round_trips(*await connect(alice, bob, device(2)))

    async def test_there_are_no_addresses_before_the_start(
        self, open_network: NetworkFactory
    ) -> None:
        alice = open_network(device(1))
        assert alice.addresses == ()
        async with running(alice):
            assert alice.addresses

    # --- Messages ---

    async def test_messages_arrive_whole_and_in_order_both_ways(
        self, open_network: NetworkFactory
    ) -> None:
        draw = random.Random(1)
        there = [draw.randbytes(draw.randint(1, 300)) for _ in range(500)]
        back = [draw.randbytes(draw.randint(1, 3_000)) for _ in range(300)]
        async with connected(open_network) as (dialled, accepted):
            for pair in [
                (dialled.control, accepted.control),
                (dialled.channel(channel_name(1)), accepted.channel(channel_name(1))),
            ]:
                near, far = pair
                received = await asyncio.gather(
                    receive_count(far, len(there)),
                    receive_count(near, len(back)),
                    send_all(near, there),
                    send_all(far, back),
                )
                assert received[0] == there
                assert received[1] == back

    async def test_messages_of_every_size_arrive(self, open_network: NetworkFactory) -> None:
        draw = random.Random(2)
        sizes = [
            1,
            2,
            62,
            63,
            64,
            65,
            1_199,
            1_200,
            16_382,
            16_383,
            16_384,
            65_535,
            65_536,
            MESSAGE_BYTES_MAX - 1,
        ]
        sizes += [MESSAGE_BYTES_MAX, 1] + [int(10 ** draw.uniform(0, 5.5)) for _ in range(40)]
        messages = [draw.randbytes(min(size, MESSAGE_BYTES_MAX)) for size in sizes]
        async with connected(open_network) as (dialled, accepted):
            near, far = dialled.channel(channel_name(1)), accepted.channel(channel_name(1))
            received, _ = await asyncio.gather(
                receive_count(far, len(messages)), send_all(near, messages)
            )
            assert received == messages

    @pytest.mark.parametrize("size", [0, MESSAGE_BYTES_MAX + 1])
    async def test_a_message_of_a_wrong_size_is_refused_here(
        self, open_network: NetworkFactory, size: int
    ) -> None:
        async with connected(open_network) as (dialled, accepted):
            with pytest.raises(ValueError, match="bytes"):
                await dialled.control.send(bytes(size))
            with pytest.raises(ValueError, match="bytes"):
                dialled.control.offer(bytes(size))
            await round_trips(dialled, accepted)

    async def test_what_comes_on_an_unknown_channel_waits(
        self, open_network: NetworkFactory
    ) -> None:
        async with connected(open_network) as (dialled, accepted):
            messages = [b"early %d" % number for number in range(20)]
            await send_all(dialled.channel(channel_name(7)), messages)
            await round_trips(dialled, accepted)
            assert await receive_count(accepted.channel(channel_name(7)), 20) == messages

    async def test_the_same_name_gives_the_same_channel(self, open_network: NetworkFactory) -> None:
        async with connected(open_network) as (dialled, accepted):
            await dialled.channel(channel_name(1)).send(b"one")
            await dialled.channel(channel_name(1)).send(b"two")
            assert await accepted.channel(channel_name(1)).receive() == b"one"
            assert await accepted.channel(channel_name(1)).receive() == b"two"

    async def test_a_channel_name_of_a_wrong_length_is_refused_here(
        self, open_network: NetworkFactory
    ) -> None:
        async with connected(open_network) as (dialled, _):
            with pytest.raises(ValueError, match="32 bytes"):
                dialled.channel(b"short")

    async def test_a_hundred_channels_do_not_mix(self, open_network: NetworkFactory) -> None:
        async with connected(open_network) as (dialled, accepted):

            async def converse(number: int) -> None:
                near, far = (
                    dialled.channel(channel_name(number)),
                    accepted.channel(channel_name(number)),
                )
                for turn in range(5):
                    await near.send(b"%d there %d" % (number, turn))
                    await far.send(b"%d back %d" % (number, turn))
                    assert await far.receive() == b"%d there %d" % (number, turn)
                    assert await near.receive() == b"%d back %d" % (number, turn)

            await asyncio.gather(*(converse(number) for number in range(100)))

    async def test_an_offered_message_is_sent(self, open_network: NetworkFactory) -> None:
        async with connected(open_network) as (dialled, accepted):
            assert dialled.control.offer(b"taken")
            assert await accepted.control.receive() == b"taken"

    async def test_what_is_urgent_does_not_wait_for_bulk(
        self, open_network: NetworkFactory
    ) -> None:
        count = 64
        async with connected(open_network) as (dialled, accepted):
            bulk = dialled.channel(channel_name(1), Priority.LOW)
            live = dialled.channel(channel_name(2), Priority.HIGH)
            sending = asyncio.create_task(send_all(bulk, [bytes(64 * KIB)] * count))
            receiving = asyncio.create_task(
                receive_count(accepted.channel(channel_name(1), Priority.LOW), count)
            )
            await asyncio.sleep(0)
            await live.send(b"now")
            assert await accepted.channel(channel_name(2)).receive() == b"now"
            assert not receiving.done()
            await sending
            await receiving

    async def test_a_priority_may_change(self, open_network: NetworkFactory) -> None:
        async with connected(open_network) as (dialled, accepted):
            for priority in Priority:
                await dialled.channel(channel_name(1), priority).send(priority.name.encode())
                received = await accepted.channel(channel_name(1), priority).receive()
                assert received == priority.name.encode()

    # --- Back-pressure ---

    async def test_a_reader_that_stops_holds_up_its_writer_and_no_other(
        self, open_network: NetworkFactory
    ) -> None:
        message, count = bytes(128 * KIB), 200
        async with connected(open_network) as (dialled, accepted):
            near, far = dialled.channel(channel_name(1)), accepted.channel(channel_name(1))
            stopped = StoppedReader(dialled, accepted, message, count)
            writing = asyncio.create_task(stopped.write(near))
            await stopped.until_held_up()
            assert not writing.done()
            assert stopped.sent * len(message) < HELD_BYTES_MAX
            await dialled.channel(channel_name(2)).send(b"passes")
            assert await accepted.channel(channel_name(2)).receive() == b"passes"
            assert await receive_count(far, count) == [message] * count
            await writing

    async def test_an_offer_to_a_stopped_reader_is_declined_at_last(
        self, open_network: NetworkFactory
    ) -> None:
        message = bytes(64 * KIB)
        async with connected(open_network) as (dialled, accepted):
            near, far = dialled.channel(channel_name(1)), accepted.channel(channel_name(1))
            taken = 0
            while near.offer(message):
                taken += 1
                assert taken * len(message) < HELD_BYTES_MAX
            assert await receive_count(far, taken) == [message] * taken
            await near.send(b"again")
            assert await far.receive() == b"again"

    # --- Cancellation ---

    async def test_a_cancelled_receive_loses_no_message(self, open_network: NetworkFactory) -> None:
        draw = random.Random(3)
        messages = [b"message %d" % number for number in range(200)]
        async with connected(open_network) as (dialled, accepted):
            sending = asyncio.create_task(send_all(dialled.control, messages))
            received: list[bytes] = []
            while len(received) < len(messages):
                receiving = asyncio.create_task(accepted.control.receive())
                for _ in range(draw.randint(0, 6)):
                    await asyncio.sleep(0)
                if draw.random() < 0.9:
                    receiving.cancel()
                result = (await asyncio.gather(receiving, return_exceptions=True))[0]
                if isinstance(result, bytes):
                    received.append(result)
            assert received == messages
            await sending

    async def test_a_cancelled_send_is_sent_whole_or_not_at_all(
        self, open_network: NetworkFactory
    ) -> None:
        message_bytes = 64 * KIB
        async with connected(open_network) as (dialled, accepted):
            near, far = dialled.channel(channel_name(1)), accepted.channel(channel_name(1))
            completed: list[int] = []
            for number in range(300):
                sending = asyncio.create_task(
                    near.send(number.to_bytes(4, "big") * (message_bytes // 4))
                )
                await asyncio.sleep(0)
                sending.cancel()
                if not isinstance(
                    (await asyncio.gather(sending, return_exceptions=True))[0], BaseException
                ):
                    completed.append(number)
            receiving = asyncio.create_task(self._numbers(far, message_bytes))
            await near.send(b"end")
            received = await receiving
            assert completed
            assert received == sorted(set(received))
            assert set(completed) <= set(received)

    async def _numbers(self, channel: Channel, message_bytes: int) -> list[int]:
        received = []
        while (message := await channel.receive()) != b"end":
            assert message == message[:4] * (message_bytes // 4)
            received.append(int.from_bytes(message[:4], "big"))
        return received

    # --- The end ---

    async def test_code_and_reason_of_a_close_reach_the_peer(
        self, open_network: NetworkFactory
    ) -> None:
        async with connected(open_network) as (dialled, accepted):
            dialled.close(SHUTTING_DOWN, "going home: ü")
            dialled.close(0, "the second does not count")
            assert await dialled.wait_closed() == (SHUTTING_DOWN, "going home: ü", False)
            assert await accepted.wait_closed() == (SHUTTING_DOWN, "going home: ü", True)
            assert await accepted.wait_closed() == (SHUTTING_DOWN, "going home: ü", True)

    async def test_the_listener_may_close_too(self, open_network: NetworkFactory) -> None:
        async with connected(open_network) as (dialled, accepted):
            accepted.close(SHUTTING_DOWN, "")
            assert await dialled.wait_closed() == (SHUTTING_DOWN, "", True)

    async def test_sending_after_the_end_is_an_error(self, open_network: NetworkFactory) -> None:
        async with connected(open_network) as (dialled, accepted):
            near, far = dialled.channel(channel_name(1)), accepted.channel(channel_name(1))
            dialled.close(SHUTTING_DOWN, "bye")
            for channel in (near, dialled.control, dialled.channel(channel_name(2))):
                with pytest.raises(ConnectionLostError) as caught:
                    await channel.send(b"late")
                assert (caught.value.code, caught.value.by_peer) == (SHUTTING_DOWN, False)
                with pytest.raises(ConnectionLostError):
                    channel.offer(b"late")
            await accepted.wait_closed()
            with pytest.raises(ConnectionLostError) as caught:
                await far.send(b"late")
            assert (caught.value.code, caught.value.by_peer) == (SHUTTING_DOWN, True)

    async def test_what_had_arrived_is_received_before_the_error(
        self, open_network: NetworkFactory
    ) -> None:
        async with connected(open_network) as (dialled, accepted):
            messages = [b"one", b"two", b"three"]
            await send_all(dialled.channel(channel_name(1)), messages)
            await round_trips(dialled, accepted)
            dialled.close(SHUTTING_DOWN, "bye")
            await accepted.wait_closed()
            far = accepted.channel(channel_name(1))
            assert await receive_count(far, 3) == messages
            with pytest.raises(ConnectionLostError):
                await far.receive()

    async def test_the_end_wakes_everybody_who_waits(self, open_network: NetworkFactory) -> None:
        async with connected(open_network) as (dialled, accepted):
            near = dialled.channel(channel_name(1))
            stopped = StoppedReader(dialled, accepted, bytes(128 * KIB), 1_000)
            waiting: list[Awaitable[object]] = [asyncio.create_task(stopped.write(near))]
            await stopped.until_held_up()
            waiting.append(asyncio.create_task(near.receive()))
            waiting.append(asyncio.create_task(dialled.control.receive()))
            await round_trips_one_way(dialled, accepted)
            accepted.close(SHUTTING_DOWN, "bye")
            for result in await asyncio.gather(*waiting, return_exceptions=True):
                assert isinstance(result, ConnectionLostError)

    async def test_closing_the_interface_closes_its_connections(
        self, open_network: NetworkFactory
    ) -> None:
        alice, bob = open_network(device(1)), open_network(device(2))
        async with running(alice, bob):
            dialled, accepted = await connect(alice, bob, device(2))
            accepting = asyncio.create_task(bob.accept())
            await round_trips(dialled, accepted)
            await bob.close(SHUTTING_DOWN, "closing")
            await bob.close(0, "twice is allowed")
            assert await accepted.wait_closed() == (SHUTTING_DOWN, "closing", False)
            assert await dialled.wait_closed() == (SHUTTING_DOWN, "closing", True)
            with pytest.raises(NetworkError):
                await accepting
            with pytest.raises(NetworkError):
                await bob.accept()
            with pytest.raises(NetworkError):
                await bob.dial(device(1).peer, alice.addresses)

    async def test_a_peer_that_restarts_is_reached_again(
        self, open_network: NetworkFactory
    ) -> None:
        alice, bob, later = (
            open_network(device(1)),
            open_network(device(2)),
            open_network(device(2)),
        )
        async with running(alice):
            async with running(bob):
                before, _ = await connect(alice, bob, device(2))
            await before.wait_closed()
            async with running(later):
                after, accepted = await connect(alice, later, device(2))
                assert after.instance != before.instance
                await round_trips(after, accepted)

    # --- Figures ---

    async def test_statistics_count_what_was_carried(self, open_network: NetworkFactory) -> None:
        async with connected(open_network) as (dialled, accepted):
            before = dialled.statistics()
            await dialled.control.send(bytes(10_000))
            await accepted.control.receive()
            await round_trips(dialled, accepted)
            after, there = dialled.statistics(), accepted.statistics()
            assert after.bytes_sent >= before.bytes_sent + 10_000
            assert there.bytes_received >= 10_000
            assert after.bytes_received > 0
            assert after.round_trip_s is None or 0 <= after.round_trip_s < TEST_S_MAX
