"""The configuration of a node, as a value; where it comes from is the command line's affair."""

from dataclasses import dataclass, field
from typing import Final

CONGESTION_CONTROLS: Final = ("culm", "cubic", "reno")
LAN_MODES: Final = ("off", "listen", "announce")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """How a node runs.

    Args:
        listen: `host:port` to listen on; port 0 takes a free one; None listens on all interfaces, on the port that was
            taken the first time if it is still free.
        network_id: Only nodes with the same one talk to each other; it is no secret.
        congestion_control: How fast connections send: `culm` is cubic that keeps no long queue before live edits;
            `cubic` and `reno` are as in their RFCs, for paths where that yields too much to others.
        stun: STUN servers, `host[:port]`, that tell what our address is outside.
        turn: TURN servers, `turn:user:password@host:port`, that relay where nothing else works.
        via: Rendezvous nodes, `PEERID@host:port`, through which peers find us.
        port_mapping: Whether the router is asked to forward a port to us: by PCP or NAT-PMP, and by UPnP with the extra
            `upnp`. It is never asked where we listen on loopback.
        predicts_ports: Whether to guess, behind a NAT that gives each peer another port, which ones come next, so that
            peers behind port-restricted boxes are met without a relay. It costs three more sockets for each try, and
            peers some hundred packets.
        passphrase: What locks the key file, where anything does; a data directory that is new is locked by it.
        is_rendezvous: Whether this node is one, for anybody.
        lan: What it does in the local network: `off`; `listen` for members that announce themselves; `announce` itself
            too, under names that only members can tell.
    """

    listen: str | None = None
    network_id: str = "culm"
    congestion_control: str = CONGESTION_CONTROLS[0]
    stun: tuple[str, ...] = ()
    turn: tuple[str, ...] = ()
    via: tuple[str, ...] = ()
    is_rendezvous: bool = False
    predicts_ports: bool = False
    lan: str = LAN_MODES[0]
    port_mapping: bool = False
    passphrase: str | None = field(default=None, repr=False)
