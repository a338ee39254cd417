from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.codec import Value, decode, encode
from domain.connectivity.close_codes import CloseCode
from domain.connectivity.hello import (
    DiallerHello,
    HelloOffer,
    ServerHello,
    application_protocol,
)
from domain.errors import HandshakeError
from domain.identifiers import PeerId
from domain.identity import DeviceKey, Label
from domain.limits import CAPABILITIES_MAX, HELLO_BYTES_MAX

SERVER, DIALLER, STRANGER = (DeviceKey(bytes([number]) * 32) for number in (1, 2, 3))


def offer(
    number: int,
    *,
    network_id: str = "n",
    versions: Sequence[int] = (1,),
    capabilities: Sequence[str] = (),
) -> HelloOffer:
    return HelloOffer(
        network_id=network_id,
        instance=bytes([number]) * 16,
        nonce=bytes([number + 16]) * 32,
        probe_secret=bytes([number + 32]) * 16,
        versions=versions,
        capabilities=capabilities,
    )


def run(server_offer: HelloOffer, dialler_offer: HelloOffer) -> tuple[ServerHello, DiallerHello]:
    server = ServerHello(SERVER.peer, server_offer)
    dialler = DiallerHello(DIALLER, SERVER.peer, dialler_offer)
    hello = dialler.receive(server.start())
    assert hello is not None
    acknowledgement = server.receive(hello)
    assert acknowledgement is not None
    assert dialler.receive(acknowledgement) is None
    return server, dialler


def values(message: bytes) -> list[Value]:
    fields = decode(message)
    assert isinstance(fields, list)
    return fields


def refused(step: Callable[[], object]) -> int:
    with pytest.raises(HandshakeError) as caught:
        step()
    return caught.value.code


def test_both_sides_agree() -> None:
    server, dialler = run(offer(1, capabilities=["a", "b"]), offer(2, capabilities=["b", "c"]))
    theirs, ours = server.agreement, dialler.agreement
    assert theirs is not None
    assert ours is not None
    assert (theirs.peer, ours.peer) == (DIALLER.peer, SERVER.peer)
    assert (theirs.instance, ours.instance) == (bytes([2]) * 16, bytes([1]) * 16)
    assert theirs.binding == ours.binding == bytes([17]) * 32 + bytes([18]) * 32
    assert theirs.probe_secret == ours.probe_secret == bytes([34]) * 16 + bytes([33]) * 16
    assert theirs.capabilities == ours.capabilities == {"b"}
    assert theirs.version == ours.version == 1


@given(
    server_versions=st.sets(st.integers(1, 9), min_size=1, max_size=5),
    dialler_versions=st.sets(st.integers(1, 9), min_size=1, max_size=5),
)
def test_the_highest_common_version_is_chosen(
    server_versions: set[int], dialler_versions: set[int]
) -> None:
    server_offer, dialler_offer = (
        offer(1, versions=tuple(server_versions)),
        offer(2, versions=tuple(dialler_versions)),
    )
    common = server_versions & dialler_versions
    if common:
        server, _ = run(server_offer, dialler_offer)
        assert server.agreement is not None
        assert server.agreement.version == max(common)
    else:
        code = refused(lambda: run(server_offer, dialler_offer))
        assert code == CloseCode.VERSION_NOT_SUPPORTED


def test_a_version_that_the_server_does_not_speak_is_refused() -> None:
    server = ServerHello(SERVER.peer, offer(1, versions=(1,)))
    dialler = DiallerHello(DIALLER, SERVER.peer, offer(2, versions=(1, 2)))
    start = values(server.start())
    start[1] = [1, 2]
    hello = dialler.receive(encode(start))
    assert hello is not None
    assert refused(lambda: server.receive(hello)) == CloseCode.VERSION_NOT_SUPPORTED


@pytest.mark.parametrize("element", range(1, 8))
def test_a_hello_with_any_element_altered_is_refused(element: int) -> None:
    server = ServerHello(SERVER.peer, offer(1))
    hello = DiallerHello(DIALLER, SERVER.peer, offer(2)).receive(server.start())
    assert hello is not None
    fields = values(hello)
    value = fields[element]
    if isinstance(value, bytes):
        fields[element] = bytes([value[0] ^ 1]) + value[1:]
    elif isinstance(value, int):
        fields[element] = value + 1
    else:
        fields[element] = ["x" * 65]
    if element == 6:  # the probe secret is protected by TLS alone: nothing but probes depends on it
        fields[element] = b"short"
    refused(lambda: server.receive(encode(fields)))
    assert server.agreement is None


@pytest.mark.parametrize("element", [3, 4])
def test_an_altered_hello_of_the_server_spoils_the_signature(element: int) -> None:
    server = ServerHello(SERVER.peer, offer(1))
    fields = values(server.start())
    value = fields[element]
    assert isinstance(value, bytes)
    fields[element] = bytes([value[0] ^ 1]) + value[1:]
    hello = DiallerHello(DIALLER, SERVER.peer, offer(2)).receive(encode(fields))
    assert hello is not None
    assert refused(lambda: server.receive(hello)) == CloseCode.HANDSHAKE_FAILED


def test_a_signature_is_worthless_at_another_server() -> None:
    """Whoever is dialled by the victim cannot pass its hello on to a server that the victim never dialled."""
    target = ServerHello(SERVER.peer, offer(1))
    victim = DiallerHello(
        DIALLER, STRANGER.peer, offer(2)
    )  # TLS told the victim that it has dialled the stranger
    hello = victim.receive(target.start())  # the stranger passes on the target's nonce and instance
    assert hello is not None
    assert refused(lambda: target.receive(hello)) == CloseCode.HANDSHAKE_FAILED


def test_a_signature_is_worthless_on_another_connection() -> None:
    first, second = ServerHello(SERVER.peer, offer(1)), ServerHello(SERVER.peer, offer(5))
    hello = DiallerHello(DIALLER, SERVER.peer, offer(2)).receive(first.start())
    assert hello is not None
    assert refused(lambda: second.receive(hello)) == CloseCode.HANDSHAKE_FAILED


def test_a_signature_is_worthless_in_another_network() -> None:
    assert (
        refused(lambda: run(offer(1, network_id="a"), offer(2, network_id="b")))
        == CloseCode.HANDSHAKE_FAILED
    )


def test_a_signature_under_another_label_is_refused() -> None:
    server = ServerHello(SERVER.peer, offer(1))
    hello = DiallerHello(DIALLER, SERVER.peer, offer(2)).receive(server.start())
    assert hello is not None
    fields = values(hello)
    transcript = encode(
        (
            "n",
            1,
            SERVER.peer,
            offer(1).nonce,
            DIALLER.peer,
            offer(2).nonce,
            offer(1).instance,
            offer(2).instance,
        )
    )
    assert fields[7] == DIALLER.sign(Label.HELLO, transcript)
    fields[7] = DIALLER.sign(Label.JOIN, transcript)
    assert refused(lambda: server.receive(encode(fields))) == CloseCode.HANDSHAKE_FAILED


def test_our_own_key_is_refused() -> None:
    server = ServerHello(SERVER.peer, offer(1))
    hello = DiallerHello(SERVER, SERVER.peer, offer(2)).receive(server.start())
    assert hello is not None
    assert refused(lambda: server.receive(hello)) == CloseCode.HANDSHAKE_FAILED


def test_unknown_capabilities_are_ignored() -> None:
    server, _ = run(
        offer(1), offer(2, capabilities=[f"future-{number}" for number in range(CAPABILITIES_MAX)])
    )
    assert server.agreement is not None
    assert server.agreement.capabilities == frozenset()


def test_too_many_capabilities_are_refused() -> None:
    many = [f"c{number}" for number in range(CAPABILITIES_MAX + 1)]
    assert refused(lambda: run(offer(1), offer(2, capabilities=many))) == CloseCode.PROTOCOL_ERROR


@given(st.binary(max_size=300))
def test_garbage_is_a_typed_error_on_both_sides(garbage: bytes) -> None:
    server, dialler = (
        ServerHello(SERVER.peer, offer(1)),
        DiallerHello(DIALLER, SERVER.peer, offer(2)),
    )
    assert refused(lambda: server.receive(garbage)) == CloseCode.PROTOCOL_ERROR
    assert refused(lambda: dialler.receive(garbage)) == CloseCode.PROTOCOL_ERROR
    dialler.receive(server.start())
    assert refused(lambda: dialler.receive(garbage)) == CloseCode.PROTOCOL_ERROR


def test_a_message_that_is_too_long_is_refused() -> None:
    server = ServerHello(SERVER.peer, offer(1))
    assert refused(lambda: server.receive(bytes(HELLO_BYTES_MAX + 1))) == CloseCode.PROTOCOL_ERROR


def test_messages_out_of_turn_are_refused() -> None:
    server, dialler = run(offer(1), offer(2))
    assert refused(lambda: server.receive(b"")) == CloseCode.PROTOCOL_ERROR
    assert refused(lambda: dialler.receive(b"")) == CloseCode.PROTOCOL_ERROR
    fresh = DiallerHello(DIALLER, SERVER.peer, offer(2))
    assert refused(lambda: fresh.receive(encode((3, bytes(16))))) == CloseCode.PROTOCOL_ERROR
    assert refused(lambda: server.receive(server.start())) == CloseCode.PROTOCOL_ERROR


def test_each_network_has_its_own_application_protocol() -> None:
    assert application_protocol("culm") == application_protocol("culm")
    assert application_protocol("culm") != application_protocol("culn")
    assert application_protocol("culm").startswith("culm/1-")
    for wrong in ("", "x" * 65):
        with pytest.raises(ValueError, match="network id"):
            application_protocol(wrong)


def test_the_expected_peer_is_the_one_that_tls_has_proven() -> None:
    _, dialler = run(offer(1), offer(2))
    assert dialler.agreement is not None
    assert dialler.agreement.peer == PeerId(SERVER.peer)
