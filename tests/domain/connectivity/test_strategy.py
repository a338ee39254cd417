"""The table of strategies: complete, and in the words of the requirements."""

import pytest

from domain import errors
from domain.connectivity.close_codes import CloseCode
from domain.connectivity.strategy import (
    STRATEGIES,
    Action,
    blame,
    connection_lost,
    handshake_error,
    hello_error,
    strategy_of,
)
from domain.errors import (
    AuthenticationError,
    ConnectionLostError,
    ConnectionReplacedError,
    ConnectionTimedOutError,
    CorruptMessageError,
    DialError,
    HandshakeError,
    NetworkDownError,
    NetworkError,
    PeerError,
    UsageError,
    WrongNetworkError,
)


def test_every_network_error_has_a_row_of_its_own() -> None:
    kinds = {each for each in vars(errors).values() if isinstance(each, type)}
    missing = {each for each in kinds if issubclass(each, NetworkError)} - STRATEGIES.keys()
    assert missing == set()
    assert all(strategy.because for strategy in STRATEGIES.values())


def test_an_error_that_is_added_without_a_row_is_treated_as_what_it_is_a_kind_of() -> None:
    kind = type("NewError", (ConnectionTimedOutError,), {})
    assert strategy_of(kind(CloseCode.TIMED_OUT, "")) is STRATEGIES[ConnectionTimedOutError]


def test_what_does_not_concern_a_peer_has_no_strategy() -> None:
    with pytest.raises(AssertionError, match="UsageError"):
        strategy_of(UsageError("a slip of the pen"))


def test_the_matrix_is_the_one_that_was_asked_for() -> None:
    assert STRATEGIES[DialError].action is Action.RETRY
    assert STRATEGIES[ConnectionLostError].action is Action.RETRY
    assert STRATEGIES[CorruptMessageError].action is Action.RESEND
    assert STRATEGIES[PeerError].action is Action.CLOSE
    authentication = STRATEGIES[AuthenticationError]
    assert (authentication.action, authentication.is_security) == (Action.GIVE_UP, True)


@pytest.mark.parametrize("code", [*CloseCode, 99])
def test_a_code_gives_an_error_that_keeps_it(code: int) -> None:
    lost = connection_lost(code, "why", by_peer=True)
    assert (lost.code, lost.by_peer, str(lost)) == (code, True, "why")
    refused = handshake_error(code, "why")
    assert (refused.code, str(refused)) == (code, "why")


def test_a_peer_that_served_already_may_end_a_hello_for_any_reason() -> None:
    replaced = hello_error(CloseCode.REPLACED, "why", by_peer=True)
    assert isinstance(replaced, ConnectionReplacedError)
    assert replaced.by_peer
    assert isinstance(hello_error(CloseCode.WRONG_NETWORK, "why", by_peer=True), WrongNetworkError)
    assert type(hello_error(99, "why", by_peer=True)) is HandshakeError


def test_our_own_network_is_blamed_where_nobody_at_all_is_reached() -> None:
    silence = (DialError("nobody"), connection_lost(CloseCode.TIMED_OUT, "silent", by_peer=False))
    for error in silence:
        assert isinstance(blame(error, peers_wanted=2, peers_connected=0), NetworkDownError)
        assert blame(error, peers_wanted=1, peers_connected=0) is error
        assert blame(error, peers_wanted=9, peers_connected=1) is error
    answered = handshake_error(CloseCode.HANDSHAKE_FAILED, "another key")
    assert blame(answered, peers_wanted=2, peers_connected=0) is answered
    assert not STRATEGIES[NetworkDownError].is_counted
