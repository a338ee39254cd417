"""What every command takes, and how a function becomes a command that takes it."""

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer

from node.cli.failure import failures_reported
from node.cli.logs import start_logging
from node.config import LAN_MODES
from node.configuration import LOG_FORMATS, LOG_LEVELS, Configuration, read_configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One command, as it was typed.

    Args:
        configuration: All settings.
        wants_json: Whether the answer is to be JSON.
        is_debug: Whether tracebacks are wanted.
    """

    configuration: Configuration
    wants_json: bool
    is_debug: bool


Data = Annotated[
    str | None,
    typer.Option("--data", metavar="DIR", help="The data directory.", show_default=False),
]
Listen = Annotated[
    str | None,
    typer.Option(
        "--listen", metavar="HOST:PORT", help="Where peers reach this node.", show_default=False
    ),
]
NetworkId = Annotated[
    str | None,
    typer.Option(
        "--network-id",
        metavar="NAME",
        help="Only nodes with the same one meet.",
        show_default=False,
    ),
]
Stun = Annotated[
    str | None,
    typer.Option(
        "--stun",
        metavar="HOST[:PORT],...",
        help="STUN servers: they tell our address outside.",
        show_default=False,
    ),
]
Turn = Annotated[
    str | None,
    typer.Option(
        "--turn",
        metavar="turn:USER:PASSWORD@HOST,...",
        help="TURN servers: they relay where nothing else works.",
        show_default=False,
    ),
]
Via = Annotated[
    str | None,
    typer.Option(
        "--via",
        metavar="PEERID@HOST:PORT,...",
        help="Rendezvous nodes: peers find us through them.",
        show_default=False,
    ),
]
PortPrediction = Annotated[
    bool,
    typer.Option(
        "--port-prediction",
        help="Guess which ports a symmetric NAT gives next, to need a relay less.",
    ),
]
Lan = Annotated[
    str | None,
    typer.Option(
        "--lan",
        metavar="|".join(LAN_MODES),
        help="Find members in the local network: listen, or announce this node to them too.",
        show_default=False,
    ),
]
PortMapping = Annotated[
    bool,
    typer.Option(
        "--port-mapping", help="Ask the router to forward a port to this node (PCP, NAT-PMP, UPnP)."
    ),
]
Verbose = Annotated[
    int, typer.Option("-v", "--verbose", count=True, help="Log more; -vv for everything.")
]
LogLevel = Annotated[
    str | None,
    typer.Option("--log-level", metavar="|".join(LOG_LEVELS), help="What to log on stderr."),
]
LogFormat = Annotated[
    str | None,
    typer.Option("--log-format", metavar="|".join(LOG_FORMATS), help="How to log."),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Json = Annotated[
    bool, typer.Option("--json", help="Answer with one line of JSON, the last on stdout.")
]

Rendezvous = Annotated[
    bool,
    typer.Option("--rendezvous", help="Let anybody's peers find each other through this node."),
]

COMMON: Final[tuple[tuple[str, Any, object], ...]] = (
    ("data", Data, None),
    ("listen", Listen, None),
    ("network_id", NetworkId, None),
    ("stun", Stun, None),
    ("turn", Turn, None),
    ("via", Via, None),
    ("port_prediction", PortPrediction, False),
    ("lan", Lan, None),
    ("port_mapping", PortMapping, False),
    ("verbose", Verbose, 0),
    ("log_level", LogLevel, None),
    ("log_format", LogFormat, None),
    ("debug", Debug, False),
    ("json", Json, False),
)


def command(
    application: typer.Typer, name: str, example: str, *, is_server: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a command of a function that takes an `Invocation` and its own parameters.

    Args:
        application: Gets the command.
        name: Of the command.
        example: Shown by `--help`.
        is_server: Whether it also takes what only a node that stays takes.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(function).parameters.values())[1:]
        if is_server:
            own.append(
                inspect.Parameter(
                    "rendezvous",
                    inspect.Parameter.KEYWORD_ONLY,
                    default=False,
                    annotation=Rendezvous,
                )
            )

        def call(**given: Any) -> None:  # noqa: ANN401 - typer checks them by the signature
            common = {each: given.pop(each) for each, _, _ in COMMON}
            common["rendezvous"] = given.pop("rendezvous", False)  # of `run` alone
            with failures_reported(wants_json=common["json"], is_debug=common["debug"]):
                function(_invocation(common), **given)

        common = [
            inspect.Parameter(
                each, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind
            )
            for each, kind, default in COMMON
        ]
        keyword = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own]
        call.__signature__ = inspect.Signature([*keyword, *common])  # type: ignore[attr-defined]
        call.__annotations__ = {each.name: each.annotation for each in (*own, *common)}
        text = inspect.getdoc(function) or ""
        application.command(name, help=f"{text}\n\n\b\nExample:\n  {example}")(call)
        return function

    return decorate


def _invocation(common: dict[str, Any]) -> Invocation:
    level = common["log_level"]
    if level is None and common["verbose"]:
        level = "info" if common["verbose"] == 1 else "debug"
    flags = {
        "data": common["data"],
        "listen": common["listen"],
        "network_id": common["network_id"],
        "stun": common["stun"],
        "turn": common["turn"],
        "via": common["via"],
        "lan": common["lan"],
        "port_mapping": "yes" if common["port_mapping"] else None,
        "rendezvous": "yes" if common.get("rendezvous") else None,
        "port_prediction": "yes" if common.get("port_prediction") else None,
        "log_level": level,
        "log_format": common["log_format"],
    }
    configuration = read_configuration(flags, os.environ)
    start_logging(configuration.log_level.value or "", configuration.log_format.value or "")
    return Invocation(
        configuration=configuration, wants_json=common["json"], is_debug=common["debug"]
    )
