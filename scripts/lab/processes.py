"""The programs that run in the lab: real nodes (`culm run`), and a real coturn."""

import asyncio
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from adapters.control.client import ControlClient
from domain.errors import CulmError
from scripts.lab.rules import TYPES
from scripts.lab.topology import PUBLIC, SERVERS, LabError, Topology

PORT: Final = 4_433
START_S_MAX: Final = 30.0
POLL_S: Final = 0.005
USER, PASSWORD = "lab", "secret"
TURN_FILES: Final = ("turn.key", "turn.crt")


class LabNode:
    """A node process.

    Args:
        process: The process.
        directory: Its data directory.
        status: What it said when it was ready.
    """

    def __init__(
        self, process: "subprocess.Popen[str]", directory: Path, status: dict[str, object]
    ) -> None:
        self.process = process
        self.peer = str(status["peer"])
        self._directory = directory
        self._client = ControlClient(directory / "control")
        self._edits = 0

    def request(self, command: str, **arguments: object) -> AsyncIterator[Mapping[str, Any]]:
        """Let it carry out a command; its answers."""
        return self._client.request(command, arguments)

    async def ask(self, command: str, **arguments: object) -> dict[str, Any]:
        """Let it carry out a command; the last answer."""
        last: dict[str, Any] = {}
        async for answer in self.request(command, **arguments):
            last = dict(answer)
        return last

    async def text(self, document: str) -> str:
        """The text of a document."""
        return str((await self.ask("cat", document=document))["text"])

    async def write(self, document: str, line: str) -> None:
        """Put a line before the text of a document; durable on return."""
        self._edits += 1
        path = self._directory / f"edit-{self._edits}.txt"
        path.write_text(f"{line}\n{await self.text(document)}")
        await self.ask("import", path=str(path), into=document, format="text")
        path.unlink()

    async def path_to(self, peer: str) -> str | None:
        """How it is connected to a peer: `direct`, `relayed`, or None."""
        known = (await self.ask("peers"))["peers"]
        return next((each["path"] for each in known if each["peer"] == peer), None)

    async def connected_s(self, peer: str) -> float:
        """How long the connection to a peer has been there; 0 without one."""
        known = (await self.ask("peers"))["peers"]
        return next((each["connected_s"] or 0.0 for each in known if each["peer"] == peer), 0.0)


async def until(condition: Any, *, within_s: float) -> bool:  # noqa: ANN401 - a coroutine function
    """Wait until something holds; whether it did in time."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        try:
            if await condition():
                return True
        except CulmError:
            pass
        await asyncio.sleep(POLL_S)
    return False


@contextmanager
def node(
    topology: Topology, short: str, directory: Path, flags: Sequence[str]
) -> Iterator[LabNode]:
    """Run a node in a namespace.

    Raises:
        LabError: It did not start.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(
            [
                *("ip", "netns", "exec", topology.name(short)),
                *(sys.executable, "-m", "node", "run", "--json", "-v", "--log-format", "json"),
                *("--data", str(directory), *flags),
            ],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise LabError(f"a node did not start: {(directory / 'log').read_text()[-2000:]}")
            yield LabNode(process, directory, json.loads(line))
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()


class Turn:
    """A coturn, which is STUN server too, and can be stopped and started.

    Args:
        topology: Where it runs.
        directory: For its files.
    """

    def __init__(self, topology: Topology, directory: Path) -> None:
        self._topology = topology
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        certificate = _make_certificate(directory)
        self.pin = hashlib.sha256(certificate).hexdigest()

    @property
    def servers(self) -> str:
        """The flag for nodes."""
        login, host = f"{USER}:{PASSWORD}", SERVERS[0]
        return f"turn:{login}@{host},turns:{login}@{host}?pin={self.pin}"

    def start(self) -> None:
        """Start it, and wait until it listens.

        Raises:
            LabError: It does not.
        """
        key, certificate = (self._directory / name for name in TURN_FILES)
        options = [
            *(f"--listening-ip={each}" for each in SERVERS),
            *(f"--relay-ip={SERVERS[0]}", "--listening-port=3478", "--tls-listening-port=5349"),
            *(f"--cert={certificate}", f"--pkey={key}", f"--user={USER}:{PASSWORD}"),
            *("--realm=lab", "--lt-cred-mech", "--no-cli", "--no-dtls", "--fingerprint"),
            *("--allow-loopback-peers", "--log-file=stdout", "--rfc5780"),
            *(
                f"--userdb={self._directory / 'turn.sqlite'}",
                f"--pidfile={self._directory / 'pid'}",
            ),
        ]
        with (self._directory / "turn.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("ip", "netns", "exec", self._topology.name("pub"), "turnserver", "-n"),
                    *(each for each in options if each not in _NOT_EVERYWHERE),
                ],
                stdout=log,
                stderr=log,
            )
        probe = f"import socket; socket.create_connection(('{SERVERS[0]}', 3478), 1).close()"
        end = time.monotonic() + START_S_MAX
        while time.monotonic() < end:
            try:
                self._topology.inside("pub", sys.executable, "-c", probe)
            except LabError:
                if self._process.poll() is not None:
                    break
            else:
                return
        raise LabError(f"coturn does not listen: {self._log()[-2000:]}")

    def stop(self) -> None:
        """Stop it, without a word to its clients."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _log(self) -> str:
        return (self._directory / "turn.log").read_text(errors="replace")


_NOT_EVERYWHERE: Final = ("--rfc5780", "--allow-loopback-peers")
"""Later versions than 4.6 need the first to answer from their second address; earlier ones do not know it."""


def _make_certificate(directory: Path) -> bytes:
    """Make a key and a certificate for TLS; the certificate in DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lab")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    secret = key.private_bytes(
        encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (directory / TURN_FILES[0]).write_bytes(secret)
    (directory / TURN_FILES[1]).write_bytes(certificate.public_bytes(encoding))
    return certificate.public_bytes(serialization.Encoding.DER)


class Lab:
    """The network with its servers running.

    Args:
        topology: The network.
        directory: For the files of all processes.
        turn: The TURN server.
        rendezvous: The node that hands on offers.
    """

    def __init__(
        self, topology: Topology, directory: Path, turn: Turn, rendezvous: LabNode
    ) -> None:
        self.topology = topology
        self.turn = turn
        self.rendezvous = rendezvous
        self.directory = directory
        self.predicts = False
        """Whether nodes in houses guess the ports that their box gives next."""
        self._count = 0

    @property
    def flags(self) -> list[str]:
        """How nodes in houses run."""
        return [
            *("--listen", f"[::]:{PORT}", "--stun", SERVERS[0], "--turn", self.turn.servers),
            *("--via", f"{self.rendezvous.peer}@{PUBLIC}:{PORT}"),
            *(["--port-prediction"] if self.predicts else ()),
        ]

    @contextmanager
    def houses(
        self, a: str, b: str, *, hosts: tuple[str, str] = ("ha", "hb")
    ) -> Iterator[tuple[LabNode, LabNode]]:
        """Let boxes be of these types, and run a fresh node in each house, or at those hosts."""
        self._count += 1
        for side, kind in (("a", a), ("b", b), ("c", a)):
            self.topology.set_nat(side, kind)
        self.topology.set_inner_nat(a if a in TYPES else "port-restricted")
        with ExitStack() as stack:
            nodes = [
                stack.enter_context(
                    node(
                        self.topology,
                        host,
                        self.directory / f"{self._count}{host}",
                        self.flags,
                    )
                )
                for host in hosts
            ]
            yield nodes[0], nodes[1]

    @contextmanager
    def alone(self, host: str, directory: str, flags: Sequence[str]) -> Iterator[LabNode]:
        """Run a node that is told of no server; the directory says who it is."""
        with node(self.topology, host, self.directory / directory, flags) as running:
            yield running


@contextmanager
def servers(topology: Topology, directory: Path) -> Iterator[Lab]:
    """Run the servers of the lab."""
    turn = Turn(topology, directory)
    turn.start()
    try:
        flags = ["--listen", f"{PUBLIC}:{PORT}", "--rendezvous"]
        with node(topology, "pub", directory / "rendezvous", flags) as rendezvous:
            yield Lab(topology, directory, turn, rendezvous)
    finally:
        turn.stop()
