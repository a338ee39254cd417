"""Why an edit is not there: from how it stands with a document and a peer, one typed answer that says what to do.

Nothing is measured or asked here: `node.explaining` collects the circumstances, and the rules below judge them. The
first that holds, in the order in which an edit goes its way, is the verdict; what else holds is told as well.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from domain import limits


class Verdict(Enum):
    """The answer, in the order in which an edit goes its way: from this device to the other one and back."""

    NOT_A_MEMBER = "not-a-member"
    """This device is no member of the document, or no longer."""
    READ_ONLY = "read-only"
    """This device may read, but not write."""
    NEWER_FORMAT = "newer-format"
    """The document holds something that only a newer version understands, and is read-only here."""
    UNSAVED_EDITS = "unsaved-edits"
    """Edits of this device cannot be written to its disk."""
    UNPAID_DEBT = "unpaid-debt"
    """Somebody was removed, and no secret that they do not know has been made since."""
    PEER_NOT_A_MEMBER = "peer-not-a-member"
    """The peer is no member of the document, or no longer."""
    PEER_UNKNOWN = "peer-unknown"
    """No address of the peer is known."""
    PEER_UNREACHABLE = "peer-unreachable"
    """The peer does not answer."""
    PEER_REFUSED = "peer-refused"
    """Somebody answers who will not talk to us, or is not the peer."""
    CONNECTING = "connecting"
    """A connection is being made."""
    NOT_EXCHANGING = "not-exchanging"
    """The peer is connected, and has not taken up this document."""
    WAITING_FOR_PAST = "waiting-for-past"
    """Edits are here that build on others which are not."""
    MISSING_SECRET = "missing-secret"  # noqa: S105 - a verdict
    """Edits are here, but not the secret that opens them."""
    NEEDS_UPGRADE = "needs-upgrade"
    """Edits are here that only a newer version understands."""
    QUARANTINED = "quarantined"
    """Edits are here on which the CRDT engine fails."""
    SENDING = "sending"
    """The peer has not acknowledged everything yet."""
    RECEIVING = "receiving"
    """The peer has told of more than has arrived."""
    REFUSED_EDITS = "refused-edits"
    """Edits were refused here: no replica accepts them."""
    VOID_EDITS = "void-edits"
    """Edits do not count, since their author was removed or lost the right to write."""
    NOBODY_ELSE = "nobody-else"
    """The document has no other member."""
    IN_SYNC = "in-sync"
    """Both have the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that holds.

    Args:
        verdict: What it is.
        evidence: What shows it.
        action: What to do about it.
    """

    verdict: Verdict
    evidence: str
    action: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The answer: what decides, and all that holds; the first of `findings` is the verdict."""

    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """What decides."""
        return self.findings[0].verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentCircumstances:
    """How it stands with a document on this device.

    Args:
        is_member: Whether this device is one.
        may_write: Whether its role lets it write.
        others: How many other members there are.
        newer_format: Why only a newer version may write to it, if so.
        unsaved_edits: Edits that are not on disk although they should be.
        unsaved_reason: Why they are not.
        refused: Why operations were refused lately, the latest last.
        void: Operations that do not count.
        waiting: Operations that wait for something they build on.
        waited_for: What they wait for.
        blocked_for_secret: Operations whose secret is not here, and those that build on them.
        blocked_for_version: Why operations need a newer version, each reason once.
        quarantined: Operations on which the engine fails.
        owes_secret: Whether everybody's secrets are known to somebody who may no longer read.
    """

    is_member: bool
    may_write: bool
    others: int
    newer_format: str | None = None
    unsaved_edits: int = 0
    unsaved_reason: str | None = None
    refused: tuple[str, ...] = ()
    void: int = 0
    waiting: int = 0
    waited_for: tuple[str, ...] = ()
    blocked_for_secret: int = 0
    blocked_for_version: tuple[str, ...] = ()
    quarantined: int = 0
    owes_secret: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerCircumstances:
    """How it stands between a document and one peer.

    Args:
        name: What the peer is called here.
        is_member: Whether it is a member.
        addresses: Where it may be.
        is_connected: Whether it is connected now.
        is_refused: Whether the last try ended with a refusal, not with silence.
        is_connecting: Whether a try is under way.
        last_error: What ended the last try or connection.
        next_attempt_s: When the next try is due.
        is_exchanging: Whether both have taken up the document on the connection.
        ours: Operations on our disk.
        acknowledged: How many of them it holds.
        announced: How many it has that are on their way to us.
        path: Over what it is connected, and how long a round trip takes.
    """

    name: str
    is_member: bool
    addresses: tuple[str, ...] = ()
    is_connected: bool = False
    is_refused: bool = False
    is_connecting: bool = False
    last_error: str | None = None
    next_attempt_s: float | None = None
    is_exchanging: bool = False
    ours: int = 0
    acknowledged: int = 0
    announced: int = 0
    path: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """All that is looked at; without a peer the answer is about this device alone."""

    document: DocumentCircumstances
    peer: PeerCircumstances | None = field(default=None)


def explain(circumstances: Circumstances) -> Explanation:
    """Say what keeps edits from being on the other side, or that nothing does."""
    findings = list(explain_device(circumstances.document))
    if circumstances.peer is not None:
        findings += _of_peer(circumstances.peer)
    elif not circumstances.document.others and circumstances.document.is_member:
        findings.append(_NOBODY_ELSE)
    order = list(Verdict)
    findings.sort(key=lambda finding: order.index(finding.verdict))
    return Explanation(findings=tuple(findings) or (_in_sync(circumstances),))


_NOBODY_ELSE: Final = Finding(
    verdict=Verdict.NOBODY_ELSE,
    evidence="this device is the only member",
    action="invite somebody",
)


def _in_sync(circumstances: Circumstances) -> Finding:
    peer = circumstances.peer
    if peer is None:
        evidence = "nothing waits on this device"
    else:
        over = f", over {peer.path}" if peer.path else ""
        evidence = f"{peer.name} has acknowledged all {peer.ours} operations{over}"
    return Finding(verdict=Verdict.IN_SYNC, evidence=evidence, action="nothing")


def explain_device(of: DocumentCircumstances) -> Iterator[Finding]:
    """Say what on this device keeps edits from getting on, whoever the peer."""
    if not of.is_member:
        yield Finding(
            verdict=Verdict.NOT_A_MEMBER,
            evidence="this device is not a member of the document",
            action="ask somebody who manages it for an invite; what was here stays readable",
        )
        return
    for rule in (_of_writing, _of_arrivals):
        yield from rule(of)


def _of_writing(of: DocumentCircumstances) -> Iterator[Finding]:
    if of.newer_format is not None:
        yield Finding(
            verdict=Verdict.NEWER_FORMAT,
            evidence=f"the document is read-only here: {of.newer_format}",
            action="install a newer culm",
        )
    elif not of.may_write:
        yield Finding(
            verdict=Verdict.READ_ONLY,
            evidence="the role of this device does not let it write",
            action="ask somebody who manages the document for the role `write`",
        )
    if of.unsaved_reason is not None:
        yield Finding(
            verdict=Verdict.UNSAVED_EDITS,
            evidence=f"{_count(of.unsaved_edits, 'edit')} not on disk: {of.unsaved_reason}",
            action="make the disk writable again; they are kept, and tried again until it is",
        )
    if of.owes_secret:
        yield Finding(
            verdict=Verdict.UNPAID_DEBT,
            evidence="no secret was made since somebody lost the right to read",
            action="nothing: whoever may write and is online next makes one",
        )


def _of_arrivals(of: DocumentCircumstances) -> Iterator[Finding]:
    if of.refused:
        yield Finding(
            verdict=Verdict.REFUSED_EDITS,
            evidence=f"refused lately: {of.refused[-1]}",
            action="nothing here: the device that wrote this has to be mended or upgraded",
        )
    if of.void:
        yield Finding(
            verdict=Verdict.VOID_EDITS,
            evidence=f"{_count(of.void, 'operation')} of members who may not write (any more)",
            action="nothing, or give them the role `write` again; they then write anew",
        )
    if of.waiting:
        known = f", first for {of.waited_for[0]}" if of.waited_for else ""
        full = of.waiting >= limits.PARKED_OPERATIONS_MAX
        yield Finding(
            verdict=Verdict.WAITING_FOR_PAST,
            evidence=f"{_count(of.waiting, 'operation')} waiting for what they build on{known}"
            + ("; no more are kept, the rest will be sent again" if full else ""),
            action="connect to a member who has it: its author, or anybody who shows the edit",
        )
    if of.blocked_for_secret:
        yield Finding(
            verdict=Verdict.MISSING_SECRET,
            evidence=f"{_count(of.blocked_for_secret, 'operation')} sealed under a secret that is not here",
            action="let a member who may read come online: the secret is asked for by itself",
        )
    if of.blocked_for_version:
        yield Finding(
            verdict=Verdict.NEEDS_UPGRADE,
            evidence=of.blocked_for_version[0],
            action="install a newer culm; what waits is then shown by itself",
        )
    if of.quarantined:
        yield Finding(
            verdict=Verdict.QUARANTINED,
            evidence=f"the CRDT engine fails on {_count(of.quarantined, 'operation')}",
            action="install a newer culm; they are kept and passed on, and tried again then",
        )


def _of_peer(peer: PeerCircumstances) -> Iterator[Finding]:
    if not peer.is_member:
        yield Finding(
            verdict=Verdict.PEER_NOT_A_MEMBER,
            evidence=f"{peer.name} is not a member of the document",
            action="send them an invite",
        )
        return
    if not peer.is_connected:
        yield _why_not_connected(peer)
    elif not peer.is_exchanging:
        yield Finding(
            verdict=Verdict.NOT_EXCHANGING,
            evidence=f"{peer.name} is connected, and has said nothing about the document",
            action="see whether it was forgotten there, or could not be opened",
        )
    yield from _of_heights(peer)


def _why_not_connected(peer: PeerCircumstances) -> Finding:
    error = peer.last_error or "nobody has answered yet"
    again = (
        f"the next try is in {peer.next_attempt_s:.0f} s"
        if peer.next_attempt_s is not None
        else "it is tried again at any sign of life"
    )
    if peer.is_connecting:
        return Finding(
            verdict=Verdict.CONNECTING,
            evidence=f"{peer.name} is being dialled at {', '.join(peer.addresses) or 'its address'}",
            action="wait a moment",
        )
    if not peer.addresses:
        return Finding(
            verdict=Verdict.PEER_UNKNOWN,
            evidence=f"no address of {peer.name} is known",
            action="let them dial this node, or be in one network, or name a common rendezvous",
        )
    if peer.is_refused:
        return Finding(
            verdict=Verdict.PEER_REFUSED,
            evidence=f"{peer.name} at {', '.join(peer.addresses)}: {error}",
            action=f"compare versions and network ids of both nodes; {again}",
        )
    return Finding(
        verdict=Verdict.PEER_UNREACHABLE,
        evidence=f"{peer.name} at {', '.join(peer.addresses)}: {error}",
        action=f"see whether the node runs there, and what `culm doctor` says on both sides; {again}",
    )


def _of_heights(peer: PeerCircumstances) -> Iterator[Finding]:
    lacking = peer.ours - peer.acknowledged
    if lacking > 0:
        yield Finding(
            verdict=Verdict.SENDING,
            evidence=f"{peer.name} has acknowledged {peer.acknowledged} of {peer.ours} operations",
            action="wait: they are sent as fast as the way there allows"
            if peer.is_connected
            else "nothing: they are sent as soon as there is a connection",
        )
    if peer.announced > 0:
        yield Finding(
            verdict=Verdict.RECEIVING,
            evidence=f"{_count(peer.announced, 'operation')} of {peer.name} on the way here",
            action="wait: they are stored one after the other",
        )


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
