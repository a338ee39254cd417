"""The life of a connection to a peer, as one table for everybody who runs it.

An attempt begins at rest, goes through the phases of becoming a connection, serves, ends, and waits for its next try:

    disconnected ─> initializing ─> connecting ─> connected ─> authenticating ─> authenticated ─> encrypting ┐
                          ^                                                                                  v
                          └── reconnecting, failed <── closed <── closing <── active <────────────────── encrypted
                                                                               ^  v
                                                                               quiet

Who runs it: a transport tells how far a connection is (`INITIALIZE` to `CONFIRM`, `CLOSE` and `END`), whether it dials
or is dialled, and whether the peer is heard (`FALL_SILENT`, `RECOVER`); the node says that it serves it (`ACTIVATE`),
and what becomes of the peer once it has ended (`WAIT`, `FAIL`, `REST`). A step that the table does not have in that
state is a bug of ours, and raises `MachineError`.

There is one `transitions.Machine`, which holds the table and no state, and a model for each peer. The callback of the
machine only notes when a state was entered and queues the change; it never waits, sets no timer and takes no step:
timers belong to the runtime, and a change has happened before anybody hears of it. (The machine is the synchronous one:
the asynchronous one of the library swallows cancellation in its callbacks.)
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from transitions import EventData, Machine

from domain.limits import LIFECYCLE_CHANGES_MAX


class State(Enum):
    """Where a peer, or an attempt to reach it, stands."""

    DISCONNECTED = "disconnected"
    """At rest: nobody wants a connection, or no address is known."""
    INITIALIZING = "initializing"
    """A dial has begun: addresses are looked up."""
    CONNECTING = "connecting"
    """The first packet is on its way; nobody has answered."""
    CONNECTED = "connected"
    """Somebody is there: packets go both ways, and the TLS handshake runs."""
    AUTHENTICATING = "authenticating"
    """The handshake is done; each side proves in the hello that it has the key behind its peer id."""
    AUTHENTICATED = "authenticated"
    """Both have."""
    ENCRYPTING = "encrypting"
    """The keys of this connection are being confirmed. QUIC has confirmed them by the time that the hello ends
    (RFC 9001, 4.1.2), and passes at once; a transport whose keys follow from the hello would wait here."""
    ENCRYPTED = "encrypted"
    """Whatever follows is for this peer alone; the node has not begun to serve it."""
    ACTIVE = "active"
    """Both sides exchange documents."""
    QUIET = "quiet"
    """Nothing is heard from the peer any more: it or the way there is gone, or comes back within
    `PEER_SILENCE_S_MAX`. Then all goes on; meanwhile it is not dialled, and may dial."""
    RECONNECTING = "reconnecting"
    """It failed or ended, and is tried again after the back-off."""
    CLOSING = "closing"
    """We have ended it, and are telling the peer."""
    CLOSED = "closed"
    """It has ended."""
    FAILED = "failed"
    """It has failed so often, or for such a reason, that it is tried only now and then, and at any sign of life."""


ATTEMPT: Final = (
    State.INITIALIZING,
    State.CONNECTING,
    State.CONNECTED,
    State.AUTHENTICATING,
    State.AUTHENTICATED,
    State.ENCRYPTING,
    State.ENCRYPTED,
)
"""The phases of becoming a connection, in order."""
SERVING: Final = (State.ACTIVE, State.QUIET)
"""There is a connection that the node serves."""
AT_REST: Final = (State.DISCONNECTED, State.RECONNECTING, State.FAILED, State.CLOSED)
"""Nothing is under way: an attempt may begin."""


class Step(Enum):
    """What happens to it: the triggers of the machine."""

    INITIALIZE = "initialize"
    """A dial begins."""
    CONNECT = "connect"
    """The first packet goes to an address."""
    HEAR = "hear"
    """Somebody has answered."""
    ACCEPT = "accept"
    """Somebody dials us."""
    AUTHENTICATE = "authenticate"
    """The hello begins."""
    PROVE = "prove"
    """Both sides have proven who they are."""
    ENCRYPT = "encrypt"
    """The keys are about to be confirmed."""
    CONFIRM = "confirm"
    """They are."""
    ACTIVATE = "activate"
    """The node serves the connection."""
    FALL_SILENT = "fall_silent"
    """No way to the peer answers, or nothing has been heard for `PEER_QUIET_S`."""
    RECOVER = "recover"
    """It is heard again."""
    CLOSE = "close"
    """We end it, or give the attempt up."""
    END = "end"
    """Nothing is left of the connection."""
    WAIT = "wait"
    """The next try has to wait."""
    FAIL = "fail"
    """It is given up, for a while."""
    REST = "rest"
    """Nobody wants anything of the peer any more."""


TRANSITIONS: Final[tuple[tuple[Step, tuple[State, ...], State], ...]] = (
    (Step.INITIALIZE, AT_REST, State.INITIALIZING),
    # From further on, too: where one address leads nowhere, the same dial tries the next.
    (Step.CONNECT, ATTEMPT[:4], State.CONNECTING),
    (Step.HEAR, (State.CONNECTING,), State.CONNECTED),
    (Step.ACCEPT, (State.DISCONNECTED,), State.CONNECTED),
    (Step.AUTHENTICATE, (State.CONNECTED,), State.AUTHENTICATING),
    (Step.PROVE, (State.AUTHENTICATING,), State.AUTHENTICATED),
    (Step.ENCRYPT, (State.AUTHENTICATED,), State.ENCRYPTING),
    (Step.CONFIRM, (State.ENCRYPTING,), State.ENCRYPTED),
    (Step.ACTIVATE, (State.ENCRYPTED,), State.ACTIVE),
    (Step.FALL_SILENT, (State.ACTIVE,), State.QUIET),
    (Step.RECOVER, (State.QUIET,), State.ACTIVE),
    (Step.CLOSE, (*ATTEMPT, *SERVING), State.CLOSING),
    (Step.END, (*ATTEMPT, *SERVING, State.CLOSING), State.CLOSED),
    (Step.WAIT, (*ATTEMPT, *AT_REST), State.RECONNECTING),
    (Step.FAIL, (*ATTEMPT, *AT_REST), State.FAILED),
    (Step.REST, (*ATTEMPT, *AT_REST), State.DISCONNECTED),
)
"""Every step, the states that it may come in, and the state that it leads to."""

MACHINE: Final = Machine(
    model=None,
    states=State,
    initial=State.DISCONNECTED,
    transitions=[
        {"trigger": step.value, "source": list(sources), "dest": state}
        for step, sources, state in TRANSITIONS
    ],
    auto_transitions=False,
    send_event=True,
    after_state_change="_note",
)
"""The table, for any number of models. They are not registered with it: that would keep every peer alive for ever, and
bind more than thirty methods to each, with a warning in the log for each that the model does not declare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChange:
    """A step that was taken, at that time in seconds."""

    step: Step
    old: State
    new: State
    at: float


class Lifecycle:
    """The model: one attempt to have a connection to a peer, the connection that comes of it, and the next attempt.

    Args:
        now: The time, in seconds.

    Attributes:
        state: Where it stands.
        since: When it got there.
        changed: Called after each step, to say that `take_changes` has something; must not take another.
    """

    def __init__(self, *, now: float) -> None:
        self.state = State.DISCONNECTED
        self.since = now
        self.changed: Callable[[], None] | None = None
        self._entered: dict[State, float] = {}
        self._changes: deque[StateChange] = deque(maxlen=LIFECYCLE_CHANGES_MAX)

    def take(self, step: Step, *, now: float) -> None:
        """Take a step.

        Raises:
            MachineError: The table does not have it in this state; a bug of the caller.
        """
        MACHINE.events[step.value].trigger(self, now=now)

    def may(self, step: Step) -> bool:
        """Whether the table has that step in this state."""
        return step.value in MACHINE.get_triggers(self.state)

    # -- What it knows --

    def phases_s(self) -> Mapping[State, float]:
        """Say how many seconds each finished phase of this attempt took, in order."""
        entered = list(self._entered.items())
        following = [at for _, at in entered[1:]]
        return {state: after - at for (state, at), after in zip(entered, following, strict=False)}

    def entered_at(self, state: State) -> float | None:
        """Say when this attempt last came to that state, or None; to `ACTIVE` when it first did."""
        return self._entered.get(state)

    def take_changes(self) -> list[StateChange]:
        """Take out the steps since the last call, in order; of very many the latest."""
        changes = list(self._changes)
        self._changes.clear()
        return changes

    def _note(self, event: EventData) -> None:
        assert event.transition is not None
        assert event.event is not None
        now: float = event.kwargs["now"]
        step, old = Step(event.event.name), State[event.transition.source]
        if step in (Step.INITIALIZE, Step.ACCEPT):
            self._entered.clear()
        elif step is Step.CONNECT:  # the phases that another address got to do not count
            first = self._entered.get(State.INITIALIZING)
            self._entered = {} if first is None else {State.INITIALIZING: first}
        if step is not Step.RECOVER:  # it has been active since it became so
            self._entered[self.state] = now
        self.since = now
        self._changes.append(StateChange(step=step, old=old, new=self.state, at=now))
        if self.changed is not None:
            self.changed()
