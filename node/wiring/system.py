"""The real environment of a node: a data directory and a UDP socket."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from os import PathLike
from pathlib import Path

from adapters.discovery.mdns import MdnsDiscovery
from adapters.quic.network import QuicNetwork
from adapters.ratchet.channel import RatchetPairwiseChannel
from adapters.sql.database import SqlDatabase
from adapters.system import key_file
from adapters.system.data_directory import open_data_directory
from adapters.system.environment import SystemClock, SystemEntropy, resident_bytes
from adapters.system.key_file import DeviceSecrets, load, load_or_create
from domain.connectivity.address import Address
from domain.connectivity.close_codes import CloseCode
from domain.errors import ConfigurationError, NetworkError
from domain.identity import DeviceKey
from domain.ports.environment import Clock, Entropy
from node.config import LAN_MODES, NodeConfig
from node.environment import Environment
from node.wiring.traversal import load_upnp, make_traversal, rendezvous_servers

DATABASE_FILE = "culm.sqlite3"
KEY_FILE = "key"
PORT_FILE = "port"


@asynccontextmanager
async def open_adapters(
    path: str | PathLike[str], config: NodeConfig
) -> AsyncIterator[Environment]:
    """Open the real adapters over a data directory.

    Raises:
        StorageError: The directory is in use, cannot be read or written, or belongs to a newer culm.
        KeyFileError: The key file is damaged or open to others.
        NetworkError: The address cannot be listened on.
        ConfigurationError: Something in `config` is not as it should be.
    """
    clock, entropy = SystemClock(), SystemEntropy()
    with open_data_directory(Path(path)) as directory:
        secrets = await asyncio.to_thread(_load_secrets, directory, entropy, config.passphrase)
        async with SqlDatabase.open(directory / DATABASE_FILE) as database:
            key = DeviceKey(secrets.seed)
            network = await _listen(directory, config, key, clock, entropy)
            try:
                traversal = make_traversal(
                    network,
                    config,
                    key,
                    clock,
                    entropy,
                    upnp=load_upnp() if config.port_mapping else None,
                )
                discovery = make_discovery(config, network.find_local_addresses)
                yield Environment(
                    key=key,
                    storage_key=secrets.storage_key,
                    network=network,
                    store=database.store,
                    queue=database.queue,
                    pairwise=RatchetPairwiseChannel(key),
                    clock=clock,
                    entropy=entropy,
                    workers=[*database.workers, *traversal.workers()],
                    close_store=database.close,
                    traversal=traversal,
                    rendezvous=rendezvous_servers(config),
                    serves_anybody=config.is_rendezvous,
                    discovery=discovery,
                    announces=config.lan == "announce",
                    memory_bytes=resident_bytes,
                )
            finally:
                # Where the node was never opened, or was cancelled while it closed, nobody else does.
                await network.close(CloseCode.SHUTTING_DOWN, "the node stops")


def make_discovery(
    config: NodeConfig, addresses: Callable[[], Sequence[Address]]
) -> MdnsDiscovery | None:
    """Make what watches the local network, where that is wanted.

    Raises:
        ConfigurationError: What is wanted there is unknown.
    """
    if config.lan not in LAN_MODES:
        raise ConfigurationError(f"lan is one of {', '.join(LAN_MODES)}, not {config.lan!r}")
    return MdnsDiscovery(addresses) if config.lan != "off" else None


def is_locked(path: str | PathLike[str]) -> bool:
    """Whether the keys of a data directory are locked by a passphrase."""
    return key_file.is_locked(Path(path) / KEY_FILE)


def change_passphrase(path: str | PathLike[str], *, old: str | None, new: str | None) -> None:
    """Lock the keys of a data directory by another passphrase, or by none, while no node runs there; durable on return.

    Raises:
        StorageError: The directory is in use, or cannot be read or written.
        KeyFileError: The key file is missing or damaged; `PassphraseError` where `old` is not its passphrase.
    """
    with open_data_directory(Path(path)) as directory:
        key_file.change_passphrase(directory / KEY_FILE, SystemEntropy(), old=old, new=new)


def _load_secrets(directory: Path, entropy: Entropy, passphrase: str | None) -> DeviceSecrets:
    """Load the key file; a new one is made only where there is no database yet that another one sealed."""
    path = directory / KEY_FILE
    if (directory / DATABASE_FILE).exists():
        return load(path, passphrase)
    return load_or_create(path, entropy, passphrase)


async def _listen(
    directory: Path, config: NodeConfig, key: DeviceKey, clock: Clock, entropy: Entropy
) -> QuicNetwork:
    """Start to listen; without a configured address on the port of the last time, so that peers find us again."""

    def make(listen: str) -> QuicNetwork:
        try:
            return QuicNetwork(
                key=key,
                listen=listen,
                network_id=config.network_id,
                clock=clock,
                entropy=entropy,
                congestion_control=config.congestion_control,
            )
        except ValueError as error:
            raise ConfigurationError(str(error)) from error

    if config.listen is not None:
        network = make(config.listen)
        await network.start()
        return network
    remembered = directory / PORT_FILE
    try:
        port = int(remembered.read_text())
        network = make(f"[::]:{port}")
        await network.start()
    except (OSError, ValueError, NetworkError):
        network = make("[::]:0")
        await network.start()
        # A full disk keeps no node from running; next time it has another port.
        with suppress(OSError):
            remembered.write_text(network.addresses[0].rpartition(":")[2])
    return network
