"""The network of the lab: three houses behind boxes, and a public segment, each in a network namespace of its own.

    ha 10.213.1.2 -[lan]- na 198.51.100.101 -[wan]- pub 198.51.100.1, .10, .11 -[wan]- nb 198.51.100.102 -[lan]- hb

House a has more: a second host `ka` (10.213.1.3), and a second box `ma` (10.213.1.4) with the host `da` (10.213.4.2)
behind both. Host `ha` also has a plug in house c, which is down until it is switched to it.

The prefixes are for documentation (RFC 5737) or of a private range that few use, and exist in these namespaces alone.
Everything carries the number of our process in its name, and is gone when the block ends, however it ends.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from scripts.lab.rules import rules

SIDES: Final = ("a", "b", "c")
INNER: Final = "10.213.1.4"
SPARE: Final = "eth1"
PUBLIC: Final = "198.51.100.1"
SERVERS: Final = ("198.51.100.10", "198.51.100.11")
WIRE: Final = Path(__file__).with_name("wire.py")
COMMAND_S_MAX: Final = 20
INSTALL_S_MAX: Final = 300
NEEDED: Final = {
    "ip": "iproute2",
    "nft": "nftables",
    "conntrack": "conntrack",
    "turnserver": "coturn",
    "sysctl": "procps",
}
"""Programs, and the Debian packages that have them."""


class LabError(Exception):
    """The lab cannot be built here; the text says why."""


def run(*arguments: str, given: str | None = None) -> str:
    """Run a command.

    Raises:
        LabError: It failed; the text is what it said.
    """
    try:
        done = subprocess.run(
            arguments,
            input=given,
            text=True,
            capture_output=True,
            timeout=COMMAND_S_MAX,
            check=False,
        )
    except FileNotFoundError:
        raise LabError(f"{arguments[0]} is not installed") from None
    if done.returncode:
        raise LabError(f"{' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


class Wire:
    """The line between a box and the public segment.

    Args:
        process: The process that carries its frames.
    """

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def set(self, **options: float) -> None:
        """Change how it behaves: `delay_ms`, `jitter_ms`, `loss`, `is_up`."""
        self._tell(options)

    def capture(self, path: Path) -> None:
        """Write every frame that it carries from now on into a file, in the pcap format."""
        self._tell({"capture": str(path)})

    def _tell(self, what: Mapping[str, object]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()


class Topology:
    """The namespaces; made by `build`.

    Args:
        prefix: What the names of all namespaces begin with.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.wires: dict[str, Wire] = {}
        self._ports = dict.fromkeys(SIDES, 10_000)
        self._types: dict[str, str] = {}

    def name(self, short: str) -> str:
        """The namespace of that short name."""
        return f"{self.prefix}{short}"

    def inside(self, short: str, *arguments: str, given: str | None = None) -> str:
        """Run a command in a namespace."""
        return run("ip", "netns", "exec", self.name(short), *arguments, given=given)

    def public_address(self, side: str) -> str:
        """The address of a box outside."""
        return f"198.51.100.{101 + SIDES.index(side)}"

    def set_nat(self, side: str, kind: str) -> None:
        """Let a box be of a type; all mappings are forgotten."""
        self._types[side] = kind
        low = self._ports[side]
        text = rules(
            kind,
            public=self.public_address(side),
            lan=f"10.213.{1 + SIDES.index(side)}.0/24",
            ports=f"{low}-{low + 9_999}",
        )
        self.inside(f"n{side}", "nft", "-f", "-", given=text)
        self.flush(side)

    def set_inner_nat(self, kind: str) -> None:
        """Let the inner box of house a be of a type."""
        text = rules(kind, public=INNER, lan="10.213.4.0/24", ports="10000-19999")
        self.inside("ma", "nft", "-f", "-", given=text)
        self.inside("ma", "conntrack", "-F")

    def switch(self, *, to_spare: bool) -> None:
        """Let host `ha` go by house c from now on, or by its own house again: one plug is pulled, the other is in."""
        gone, used = ("eth0", SPARE) if to_spare else (SPARE, "eth0")
        self.inside("ha", "ip", "link", "set", gone, "down")
        self.inside("ha", "ip", "link", "set", used, "up")
        gateway = "10.213.3.1" if to_spare else "10.213.1.1"
        self.inside("ha", "ip", "route", "replace", "default", "via", gateway)

    def flush(self, side: str) -> None:
        """Let a box forget its mappings."""
        self.inside(f"n{side}", "conntrack", "-F")

    def rebind(self, side: str) -> None:
        """Let a box forget its mappings and take other ports from now on."""
        self._ports[side] = 30_000 - self._ports[side]
        self.set_nat(side, self._types[side])

    def block_udp(self, side: str) -> None:
        """Let a box drop all UDP to and from the other box."""
        other = self.public_address("b" if side == "a" else "a")
        text = f"""
table ip block {{
  chain both {{ type filter hook forward priority -10; policy accept;
    oifname "wan" ip daddr {other} meta l4proto udp drop
    iifname "wan" ip saddr {other} meta l4proto udp drop
  }}
}}
"""
        self.inside(f"n{side}", "nft", "-f", "-", given=text)

    def unblock_udp(self, side: str) -> None:
        """End `block_udp`."""
        with suppress(LabError):
            self.inside(f"n{side}", "nft", "delete", "table", "ip", "block")


@contextmanager
def build() -> Iterator[Topology]:
    """Build the network, and take it away at the end.

    Raises:
        LabError: It cannot be built: not root, or something is missing.
    """
    if os.geteuid() != 0:
        raise LabError("network namespaces need root")
    install(NEEDED)
    topology = Topology(f"culm{os.getpid() % 100_000}")
    with ExitStack() as stack:
        for short in ("pub", "na", "nb", "nc", "ha", "hb", "hc", "ka", "ma", "da"):
            run("ip", "netns", "add", topology.name(short))
            stack.callback(_delete, topology.name(short))
            topology.inside(short, "ip", "link", "set", "lo", "up")
        _build_public(topology)
        for side in SIDES:
            _build_house(topology, side, stack)
        _build_more(topology)
        yield topology


def install(needed: Mapping[str, str]) -> None:
    """Install what is missing, where there is a package manager that has it.

    Args:
        needed: Programs, and the Debian packages that have them.

    Raises:
        LabError: Something is still missing.
    """
    missing = [package for program, package in needed.items() if shutil.which(program) is None]
    if missing and shutil.which("apt-get") is not None:
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        command = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
        subprocess.run(
            command, env=environment, capture_output=True, timeout=INSTALL_S_MAX, check=False
        )
    missing = [program for program in needed if shutil.which(program) is None]
    if missing:
        raise LabError(f"not installed: {', '.join(missing)}")


def _delete(namespace: str) -> None:
    for process in run("ip", "netns", "pids", namespace).split():
        with suppress(ProcessLookupError):
            os.kill(int(process), 9)
    with suppress(LabError):
        run("ip", "netns", "delete", namespace)


def _build_public(topology: Topology) -> None:
    topology.inside("pub", "ip", "link", "add", "br0", "type", "bridge")
    for address in (PUBLIC, *SERVERS):
        topology.inside("pub", "ip", "addr", "add", f"{address}/24", "dev", "br0")
    topology.inside("pub", "ip", "link", "set", "br0", "up")


def _build_house(topology: Topology, side: str, stack: ExitStack) -> None:
    number, box, host = 1 + SIDES.index(side), f"n{side}", f"h{side}"
    topology.wires[side] = _start_wire(topology, side, stack)
    topology.inside("pub", "ip", "link", "set", f"w{side}", "master", "br0", "up")
    topology.inside(box, "ip", "addr", "add", f"{topology.public_address(side)}/24", "dev", "wan")
    topology.inside(box, "ip", "link", "set", "wan", "up")
    topology.inside(box, "ip", "route", "add", "default", "via", PUBLIC)
    _build_lan(topology, box, number)
    _plug(topology, host, box, number)
    topology.inside(host, "ip", "route", "add", "default", "via", f"10.213.{number}.1")


def _build_lan(topology: Topology, box: str, number: int) -> None:
    """Give a box a local network, into which hosts can be plugged."""
    topology.inside(box, "ip", "link", "add", "lan", "type", "bridge")
    topology.inside(box, "ip", "addr", "add", f"10.213.{number}.1/24", "dev", "lan")
    topology.inside(box, "ip", "link", "set", "lan", "up")
    topology.inside(box, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    # Else what a host sends to itself by way of the box is bridged before it is routed, and dropped.
    topology.inside(box, "sysctl", "-qew", "net.bridge.bridge-nf-call-iptables=0")


def _plug(
    topology: Topology, host: str, box: str, number: int, *, last: int = 2, name: str = "eth0"
) -> None:
    """Plug a host into the local network of a box, as 10.213.`number`.`last`."""
    run(
        *("ip", "link", "add", f"to{host}", "netns", topology.name(box), "type", "veth"),
        *("peer", "name", name, "netns", topology.name(host)),
    )
    topology.inside(box, "ip", "link", "set", f"to{host}", "master", "lan", "up")
    topology.inside(host, "ip", "addr", "add", f"10.213.{number}.{last}/24", "dev", name)
    topology.inside(host, "ip", "link", "set", name, "up")


def _build_more(topology: Topology) -> None:
    """House a's second host, its inner box, and the plug of its first host in house c."""
    _plug(topology, "ka", "na", 1, last=3)
    topology.inside("ka", "ip", "route", "add", "default", "via", "10.213.1.1")
    _plug(topology, "ma", "na", 1, last=4, name="wan")
    topology.inside("ma", "ip", "route", "add", "default", "via", "10.213.1.1")
    _build_lan(topology, "ma", 4)
    _plug(topology, "da", "ma", 4)
    topology.inside("da", "ip", "route", "add", "default", "via", "10.213.4.1")
    _plug(topology, "ha", "nc", 3, last=9, name=SPARE)
    topology.inside("ha", "ip", "link", "set", SPARE, "down")


def _start_wire(topology: Topology, side: str, stack: ExitStack) -> Wire:
    process = subprocess.Popen(
        [
            *(sys.executable, str(WIRE)),
            *(topology.name(f"n{side}"), "wan", topology.name("pub"), f"w{side}"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    stack.callback(_stop, process)
    assert process.stdout is not None
    if process.stdout.readline().strip() != "ready":
        raise LabError("the wire cannot be made: is /dev/net/tun there?")
    return Wire(process)


def _stop(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
