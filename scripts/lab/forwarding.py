"""Two behind symmetric boxes, with no relay: whether one of the boxes, a real miniupnpd, opens the way between them.

miniupnpd forwards nothing where its address outside is one for documentation, as all of the lab's are. So the boxes get
another one each, out of a range that others own: like all of these, it leads nowhere beyond these namespaces.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from scripts.lab.processes import PORT, Lab, LabNode, until
from scripts.lab.topology import SERVERS, LabError, Topology, install

DAEMON: Final = "miniupnpd"
BOX_ADDRESSES: Final = {"a": "11.198.51.101", "b": "11.198.51.102"}
MEET_S_MAX: Final = 30.0
START_S_MAX: Final = 10.0
TABLE: Final = """
table inet miniupnpd {
  chain forward { type filter hook forward priority 0; policy accept; jump miniupnpd; }
  chain prerouting { type nat hook prerouting priority -100; policy accept; jump prerouting_miniupnpd; }
  chain postrouting { type nat hook postrouting priority 100; policy accept; jump postrouting_miniupnpd; }
  chain miniupnpd { }
  chain prerouting_miniupnpd { }
  chain postrouting_miniupnpd { }
}
"""
SETTINGS: Final = """
ext_ifname=wan
ext_ip=@PUB@
listening_ip=lan
enable_natpmp=@PCP@
enable_upnp=@UPNP@
http_port=5000
ipv6_disable=yes
upnp_table_name=miniupnpd
upnp_nat_table_name=miniupnpd
lease_file=@LEASES@
allow 1024-65535 10.213.0.0/16 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
"""
ASK_BY_NAT_PMP: Final = """
import asyncio
from adapters.gateway.natpmp import NatPmpClient
from adapters.gateway.route import find_gateway_route
from adapters.gateway.socket import open_gateway_socket

async def ask():
    socket = await open_gateway_socket(find_gateway_route("0.0.0.0"))
    client = NatPmpClient(socket, 5555)
    lease = await client.map(None)
    await client.read_epoch()
    await client.give_back()
    socket.close()
    print(lease.external)

asyncio.run(ask())
"""


async def meet_by_forwarded_port(lab: Lab, *, by_upnp: bool = False) -> dict[str, Any]:
    """Let two meet, of whom one asks its box for a port; see that it has it, and that it is given back."""
    topology = lab.topology
    for side, kind in (("a", "symmetric-forwarding"), ("b", "symmetric")):
        topology.set_nat(side, kind)
        address = f"{BOX_ADDRESSES[side]}/24"
        topology.inside(f"n{side}", "ip", "addr", "replace", address, "dev", "wan")
    flags = [
        *("--listen", f"[::]:{PORT}", "--stun", SERVERS[0]),
        *("--via", lab.flags[lab.flags.index("--via") + 1]),
    ]
    with _miniupnpd(topology, lab.directory, by_upnp=by_upnp):
        with (
            lab.alone("hb", "forwarded-hb", flags) as right,
            lab.alone("ha", "forwarded-ha", [*flags, "--port-mapping"]) as left,
        ):
            result = await _meet(left, right)
            verdicts = {
                each["code"]: each["evidence"] for each in (await left.ask("doctor"))["verdicts"]
            }
            is_held = str(PORT) in _forwarded(topology)
        is_given_back = str(PORT) not in _forwarded(topology)
        asked = expected = f"{BOX_ADDRESSES['a']}:5555"
        if not by_upnp:
            asked = topology.inside("ha", sys.executable, "-c", ASK_BY_NAT_PMP).strip()
    is_good = (
        result["path"] == "direct"
        and ("UPnP" if by_upnp else "PCP") in verdicts.get("port-mapping-works", "")
        and "relay-missing" not in verdicts
        and is_held
        and is_given_back
        and asked == expected
    )
    return result | {
        "ok": is_good and not result["lost"],
        "verdicts": verdicts,
        "held": is_held,
        "given_back": is_given_back,
        "nat_pmp": asked,
    }


async def _meet(left: LabNode, right: LabNode) -> dict[str, Any]:
    for node in (left, right):
        await until(lambda: _knows_its_nat(node), within_s=10.0)  # noqa: B023 - awaited here
    started = time.monotonic()
    document = str((await right.ask("create", name="forwarded"))["document"])
    await right.write(document, "by-right")
    await left.ask("join", invite=(await right.ask("invite", document=document))["invite"])
    lost = 0
    for writer, reader, line in ((left, right, "by-left"), (right, left, "again-by-right")):
        await writer.write(document, line)
        lost += not await until(lambda: _shows(reader, document, line), within_s=MEET_S_MAX)  # noqa: B023 - awaited here
    return {
        "stall_ms": round(1_000 * (time.monotonic() - started)),
        "lost": lost,
        "path": await left.path_to(right.peer),
    }


async def _knows_its_nat(node: LabNode) -> bool:
    return bool((await node.ask("status"))["nat"] != "unknown")


async def _shows(node: LabNode, document: str, line: str) -> bool:
    return line in await node.text(document)


def _forwarded(topology: Topology) -> str:
    """What box a forwards."""
    return topology.inside("na", "nft", "list", "chain", "inet", DAEMON, f"prerouting_{DAEMON}")


@contextmanager
def _miniupnpd(topology: Topology, directory: Path, *, by_upnp: bool) -> Iterator[None]:
    """Run it on box a; it knows UPnP, or else PCP and NAT-PMP.

    Raises:
        LabError: It cannot be installed, or does not start.
    """
    install({DAEMON: f"{DAEMON}-nftables"})
    topology.inside("na", "nft", "-f", "-", given=TABLE)
    settings = SETTINGS.replace("@PUB@", BOX_ADDRESSES["a"])
    settings = settings.replace("@UPNP@", "yes" if by_upnp else "no")
    settings = settings.replace("@PCP@", "no" if by_upnp else "yes")
    path = directory / "miniupnpd.conf"
    path.write_text(settings.replace("@LEASES@", str(directory / "leases")))
    (directory / "leases").touch()
    with (directory / "miniupnpd.log").open("w+") as log:
        command = [DAEMON, "-d", "-f", str(path), "-P", str(directory / "miniupnpd.pid")]
        process = subprocess.Popen(
            ["ip", "netns", "exec", topology.name("na"), *command], stdout=log, stderr=log
        )
        try:
            end = time.monotonic() + START_S_MAX
            port = ":1900 " if by_upnp else ":5351 "
            while port not in topology.inside("na", "ss", "-Huln"):
                if process.poll() is not None or time.monotonic() > end:
                    log.seek(0)
                    raise LabError(f"{DAEMON} does not listen: {log.read()[-2_000:]}")
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            process.wait()
