"""The commands that look at a node: how it stands with its peers, and what has happened."""

from typing import Annotated, Final

import typer

from node.cli.answering import (
    Answer,
    DocumentName,
    application,
    carry_out,
    dicts,
    listed,
    shower,
)
from node.cli.invocation import Invocation, command
from node.cli.output import answer, plain, plain_lines, short, table

PEER_HEADS: Final = (
    "PEER",
    "STATE",
    "SINCE",
    "ADDRESS",
    "ROUND TRIP",
    "NEXT TRY",
    "DOCUMENTS",
    "TRUST",
    "LAST ERROR",
)


@command(application, "peers", "culm peers --json")
def peers(invocation: Invocation) -> None:
    """List the peers that this node knows.

    STATE is that of the life cycle: active peers are connected, reconnecting ones are dialled again at NEXT TRY, and
    failed ones are still dialled every 15 minutes, and as soon as they show a sign of life.
    """
    show = shower(invocation, lambda given: answer(_peers_table(given)))
    carry_out(invocation, "peers", {}, show)


@command(application, "doctor", "culm doctor --stun stun.example.org")
def doctor(invocation: Invocation) -> None:
    """Find out what this network lets the node do: its NAT, each server, and what to change.

    Takes some seconds. Each line is a verdict: what is so, by what that was found, and what to do about it.
    """

    def show(given: Answer) -> None:
        network = given["network"]
        answer(f"NAT: {network['text'] if isinstance(network, dict) else given['nat']}")
        for each in dicts(given["verdicts"]):
            answer(f"{each['severity']:<5} {each['cause']} ({each['evidence']}) [{each['code']}]")
            if each["action"]:
                answer(f"      -> {each['action']}")

    carry_out(invocation, "doctor", {}, shower(invocation, show), reach="network")


@command(application, "status", "culm status --report")
def status(
    invocation: Invocation,
    report: Annotated[
        bool, typer.Option("--report", help="Add traffic, reconnects and the last errors.")
    ] = False,
) -> None:
    """Show the node and its documents: members, and how many operations each has not acknowledged yet."""

    def show(given: Answer) -> None:
        answer(_status_lines(given))
        if report:
            answer(plain_lines(str(given["report"])))

    carry_out(invocation, "status", {}, shower(invocation, show))


@command(application, "explain", "culm explain 'meeting notes' 1f0c")
def explain(
    invocation: Invocation,
    document: DocumentName,
    peer: Annotated[
        str | None,
        typer.Argument(
            metavar="PEER",
            help="Where the edit should be: a member, by the first digits of its id.",
        ),
    ] = None,
) -> None:
    """Say why an edit is not there, and what to do: on this device, or at a peer.

    The first line decides; what else holds comes after it. Give a peer to look at the way there as well: membership,
    connection, what it has acknowledged. It is a snapshot of what the running node knows.
    """
    arguments = {"document": document, "peer": peer}
    show = shower(invocation, lambda given: answer(_explanation_lines(given)))
    carry_out(invocation, "explain", arguments, show)


def _explanation_lines(given: Answer) -> str:
    """The answer of `explain`: each finding with what shows it, and what to do."""
    return "\n".join(
        f"{each['verdict']}: {plain(str(each['evidence']))}\n  do: {plain(str(each['action']))}"
        for each in dicts(given["findings"])
    )


def _peers_table(given: Answer) -> str:
    """The answer of `peers`, a line each."""
    rows = [
        [
            short(each["peer"]),
            str(each["state"]),
            _duration(each["since_s"]),
            str(each["address"] or ", ".join(map(str, listed(each["addresses"])))),
            _milliseconds(each["round_trip_ms"]),
            _duration(each["next_attempt_s"]),
            str(len(listed(each["documents"]))),
            _trust(each["trust"]),
            str(each["last_error"] or ""),
        ]
        for each in dicts(given["peers"])
    ]
    return table(PEER_HEADS, rows)


def _trust(documents: object) -> str:
    """Say how a peer is trusted: once, if it is the same in all documents that it shares with us."""
    listed_by_document = dicts(list(documents.values())) if isinstance(documents, dict) else []
    words = sorted(
        {
            str(each["trust"] if each["pairing"] == "paired" else each["pairing"])
            for each in listed_by_document
        }
    )
    return ", ".join(words)


def _status_lines(given: Answer) -> str:
    """The answer of `status`: the node, then each document with what is pending for whom."""
    lines = [
        f"culm {given['version']}",
        f"peer {given['peer']}",
        f"data {given['data']}",
        f"listening on {', '.join(map(str, listed(given['addresses'])))}",
        f"connections {given['connections']}",
    ]
    if isinstance(network := given["network"], dict):
        lines.append(f"NAT {network['text']}")
    for each in dicts(given["documents"]):
        lines.append(f"document {short(each['document'])} {plain(str(each['name']))}")
        lines.append(f"  role {each['role'] or 'no member'}, {each['operations']} operations")
        pending = each["pending"]
        assert isinstance(pending, dict)
        lines += [
            f"  member {short(peer)}: " + (f"lacks {count}" if count else "has all")
            for peer, count in pending.items()
        ]
    lines += [
        f"document {short(each['document'])} cannot be opened: {plain(str(each['reason']))}"
        for each in dicts(given["damaged"])
    ]
    return "\n".join(lines)


def _duration(seconds: object) -> str:
    return f"{seconds:.0f} s" if isinstance(seconds, int | float) else ""


def _milliseconds(value: object) -> str:
    return f"{value:.1f} ms" if isinstance(value, int | float) else ""
