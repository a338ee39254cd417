"""Of two connections between two peers both ends keep the same one."""

from hypothesis import given
from hypothesis import strategies as st

from domain.connectivity.duplicate import is_replaced
from domain.identifiers import PeerId
from tests.strategies import peer_ids, some_bytes


@given(st.lists(peer_ids, min_size=2, max_size=2, unique=True), st.booleans(), st.booleans())
def test_both_ends_keep_the_same_connection_whichever_they_saw_first(
    peers: list[PeerId], dialled_by_first: bool, same_dialler: bool
) -> None:
    a, b = peers
    one = a if dialled_by_first else b
    other = one if same_dialler else (b if dialled_by_first else a)
    instance = bytes(16)

    def survivor(old: PeerId, new: PeerId) -> PeerId:
        replaced = is_replaced(
            old_instance=instance, new_instance=instance, old_dialler=old, new_dialler=new
        )
        return new if replaced else old

    # The two ends may have seen the connections in either order.
    assert survivor(one, other) == survivor(other, one) == min(one, other)


@given(peer_ids, some_bytes(16))
def test_newer_connection_of_one_dialler_replaces_the_older(peer: PeerId, instance: bytes) -> None:
    assert is_replaced(
        old_instance=instance, new_instance=instance, old_dialler=peer, new_dialler=peer
    )


@given(peer_ids, peer_ids, st.lists(some_bytes(16), min_size=2, max_size=2, unique=True))
def test_restarted_peer_replaces_its_old_connection(
    old: PeerId, new: PeerId, instances: list[bytes]
) -> None:
    assert is_replaced(
        old_instance=instances[0], new_instance=instances[1], old_dialler=old, new_dialler=new
    )
