"""What everything that serves a connection needs of its node."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from domain.events import Event
from domain.ports.network import NetworkInterface
from node.admission import InviteAdmission
from node.environment import Environment
from node.owner import DocumentOwner
from node.runtime import Runtime
from node.signalling import Signalling
from node.statistics import Statistics


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The node, as its connections see it.

    Args:
        environment: Everything outside.
        network: Reaches peers, by whatever leads to them.
        signalling: Exchanges offers; None where nobody has to be found.
        runtime: Starts tasks.
        owners: Gives all documents that are open here.
        admission: Decides about strangers that hold an invite.
        publish: Takes events.
        statistics: Counts what connections carry.
    """

    environment: Environment
    network: NetworkInterface
    signalling: Signalling | None
    runtime: Runtime
    owners: Callable[[], Iterable[DocumentOwner]]
    admission: InviteAdmission
    publish: Callable[[Event], None]
    statistics: Statistics
