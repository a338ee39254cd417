"""What a node counts, and that it stays within its bounds."""

from hypothesis import given
from hypothesis import strategies as st

from domain.connectivity.lifecycle import State
from domain.events import (
    ConnectionActive,
    Event,
    NetworkErrorMet,
    PeerStateChanged,
    SecurityEvent,
)
from domain.identifiers import PeerId
from domain.limits import ERRORS_KEPT_MAX, SECURITY_EVENTS_KEPT_MAX, STATISTICS_PEERS_MAX
from domain.ports.environment import Clock
from domain.ports.network import ConnectionStatistics
from node.simulation import NodeNetwork
from node.statistics import Statistics
from tests.strategies import key

KINDS = ("DialError", "ConnectionTimedOutError")


class Still(Clock):
    """A clock that stands."""

    def now(self) -> float:
        return 5.0

    def timestamp_us(self) -> int:
        return 7


def happenings(peer: PeerId) -> st.SearchStrategy[Event]:
    return st.one_of(
        st.builds(
            PeerStateChanged,
            peer=st.just(peer),
            old=st.just(State.CLOSED),
            new=st.sampled_from(State),
        ),
        st.builds(
            ConnectionActive,
            peer=st.just(peer),
            address=st.just("a:1"),
            is_dialler=st.booleans(),
            phases_s=st.just({}),
        ),
        st.builds(
            NetworkErrorMet,
            peer=st.just(peer),
            error=st.sampled_from(KINDS),
            reason=st.text(max_size=9),
            action=st.just("retry"),
            retry_s=st.none(),
        ),
        st.builds(SecurityEvent, peer=st.just(peer), what=st.text(max_size=9)),
    )


CARRIED = st.builds(
    ConnectionStatistics,
    bytes_sent=st.integers(0, 99),
    bytes_received=st.integers(0, 99),
    messages_sent=st.integers(0, 9),
    messages_received=st.integers(0, 9),
    round_trip_s=st.none() | st.floats(0, 1),
)


@given(
    st.lists(
        st.sampled_from([key(number).peer for number in range(3)]), unique=True, min_size=1
    ).flatmap(
        lambda peers: st.lists(
            st.sampled_from(peers).flatmap(
                lambda peer: st.tuples(st.just(peer), st.one_of(happenings(peer), CARRIED))
            ),
            max_size=150,
        )
    )
)
def test_the_totals_are_the_sums_over_peers(
    entries: list[tuple[PeerId, Event | ConnectionStatistics]],
) -> None:
    statistics = Statistics(Still())
    for peer, entry in entries:
        if isinstance(entry, ConnectionStatistics):
            statistics.add_traffic(peer, entry)
        else:
            statistics.take(entry)
    frozen = statistics.freeze({}, None)
    each = list(frozen.peers.values())
    for name in ("bytes_sent", "bytes_received", "messages_sent", "messages_received"):
        assert getattr(frozen.overall.traffic, name) == sum(
            getattr(one.traffic, name) for one in each
        )
    assert frozen.overall.connections == sum(one.connections for one in each)
    assert frozen.overall.reconnects == sum(max(0, one.connections - 1) for one in each)
    for kind in KINDS:
        met = [entry for _, entry in entries if isinstance(entry, NetworkErrorMet)]
        assert frozen.overall.errors.get(kind, 0) == sum(each.error == kind for each in met)
    security = [entry for _, entry in entries if isinstance(entry, SecurityEvent)]
    assert frozen.security_count == len(security)
    assert [noted.what for noted in frozen.security] == [
        event.what for event in security[-SECURITY_EVENTS_KEPT_MAX:]
    ]
    assert frozen.report().startswith("up 0 s")


def test_memory_is_bounded_however_many_peers_fail() -> None:
    statistics = Statistics(Still())
    for number in range(STATISTICS_PEERS_MAX + 10):
        peer = PeerId(number.to_bytes(32))
        statistics.take(
            NetworkErrorMet(peer=peer, error="DialError", reason="x", action="retry", retry_s=1.0)
        )
    frozen = statistics.freeze({}, 1_000_000)
    assert len(frozen.peers) == STATISTICS_PEERS_MAX
    assert len(frozen.last_errors) == ERRORS_KEPT_MAX
    assert frozen.overall.errors == {"DialError": STATISTICS_PEERS_MAX + 10}
    assert "memory 1.0 MB" in frozen.report()


def test_a_node_counts_what_its_peer_counts(seed: int) -> None:
    network = NodeNetwork(seed)

    async def scenario() -> None:
        async with network.node("alice") as alice, network.node("bob") as bob:
            document = await alice.create("notes")
            copy = await bob.join(await document.invite())
            document.text("body").insert(0, "hello")
            await network.converged()
            await network.restart("bob")
            document.text("body").insert(0, "again ")
            await network.converged()
            await network.quiet()
            ours = alice.statistics()
            [account] = ours.peers.values()
            assert account == ours.overall
            # Two, or three where both dialled at once.
            assert account.reconnects == account.connections - 1 in (1, 2)
            assert account.states["active"] >= 2
            assert account.errors["PeerStoppedError"] == 1
            assert account.traffic.messages_sent > 0 < account.traffic.bytes_received
            assert account.round_trip_s is not None
            assert ours.uptime_s > 60
            assert "PeerStoppedError" in ours.report()
            del copy

    network.run(scenario)
