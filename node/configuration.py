"""Where the settings of a command come from.

A flag counts first, then the environment, then `culm.toml` in the data directory, then the default. Each setting keeps
its origin, so that a wrong one can be found and `culm config` can show it. A name that nobody knows is an error: a
misspelt setting would otherwise be a default in disguise. This reads the one file and changes nothing.
"""

import difflib
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from platformdirs import user_data_dir

from domain import limits
from domain.connectivity.address import AddressError, parse_address
from domain.connectivity.server import RendezvousServer, parse_stun, parse_turn
from domain.errors import ConfigurationError
from node.config import CONGESTION_CONTROLS, LAN_MODES, NodeConfig

FILE_NAME: Final = "culm.toml"
PREFIX: Final = "CULM_"
PREFIX_OF_TESTS: Final = "CULM_TEST_"
FILE_BYTES_MAX: Final = 64 * limits.KIB
PASSPHRASE_MAX: Final = 1_024  # characters: longer than anybody types
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
LOG_FORMATS: Final = ("text", "json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A value and where it comes from; None where there is none."""

    value: str | None
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """All settings of one command.

    Args:
        data: The data directory.
        listen: Where to listen, `host:port`.
        network_id: Which nodes ours talks to.
        congestion_control: How fast connections send.
        stun: STUN servers, separated by commas.
        turn: TURN servers, separated by commas.
        via: Rendezvous nodes, separated by commas.
        rendezvous: Whether this node is one: `yes` or `no`.
        port_prediction: Whether ports that a NAT gives next are guessed: `yes` or `no`.
        lan: What it does in the local network.
        port_mapping: Whether the router is asked to forward a port: `yes` or `no`.
        passphrase_file: A file whose first line is the passphrase that locks the keys.
        log_level: From which level on something is logged.
        log_format: How.
    """

    data: Setting
    listen: Setting
    network_id: Setting
    congestion_control: Setting
    stun: Setting
    turn: Setting
    via: Setting
    rendezvous: Setting
    port_prediction: Setting
    lan: Setting
    port_mapping: Setting
    passphrase_file: Setting
    log_level: Setting
    log_format: Setting

    @property
    def directory(self) -> Path:
        """The data directory, as an absolute path."""
        return Path(self.data.value or "").expanduser().absolute()

    def node_config(self, *, is_local: bool = False) -> NodeConfig:
        """Give what a node needs; one for a local command alone listens where nobody else can reach it."""
        return NodeConfig(
            listen="127.0.0.1:0" if is_local else self.listen.value,
            network_id=self.network_id.value or "",
            congestion_control=self.congestion_control.value or "",
            stun=_split(self.stun.value),
            turn=_split(self.turn.value),
            via=_split(self.via.value),
            is_rendezvous=self.rendezvous.value == "yes",
            predicts_ports=self.port_prediction.value == "yes",
            lan="off" if is_local else self.lan.value or "",
            port_mapping=not is_local and self.port_mapping.value == "yes",
            passphrase=self.passphrase(),
        )

    def passphrase(self) -> str | None:
        """Read the passphrase; None where no file is named.

        Raises:
            ConfigurationError: The file cannot be read, or begins with no passphrase.
        """
        if self.passphrase_file.value is None:
            return None
        path = Path(self.passphrase_file.value).expanduser()
        try:
            with path.open(encoding="utf-8") as file:
                passphrase = file.readline(PASSPHRASE_MAX).rstrip("\r\n")
        except (OSError, UnicodeDecodeError):
            raise ConfigurationError(
                f"the passphrase file {path} cannot be read as text: give the path of one that can"
            ) from None
        if not passphrase:
            raise ConfigurationError(f"the passphrase file {path} begins with an empty line")
        return passphrase

    def describe(self) -> dict[str, dict[str, str | None]]:
        """Give every setting as JSON has it; passwords of servers are left out."""
        return {
            name: {
                "value": setting.value if name != "turn" else _without_secrets(setting.value),
                "origin": setting.origin,
            }
            for name, setting in self._items()
        }

    def _items(self) -> Iterable[tuple[str, Setting]]:
        return ((name, getattr(self, name)) for name in ("data", *CHECKS))


def _check_listen(value: str) -> None:
    try:
        parse_address(value)
    except AddressError as error:
        raise ValueError(f"{error}; 127.0.0.1:4711 and [::]:4711 are addresses") from None


def _check_path(value: str) -> None:
    if not value:
        raise ValueError("it is a path")
    try:
        Path(value).expanduser()
    except RuntimeError:
        raise ValueError("there is no home of that user") from None


def _check_network_id(value: str) -> None:
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise ValueError("it is text that UTF-8 can say") from None
    if not 1 <= size <= limits.NETWORK_ID_BYTES_MAX:
        raise ValueError(f"it has 1 to {limits.NETWORK_ID_BYTES_MAX} bytes")


def _split(value: str | None) -> tuple[str, ...]:
    return tuple(each.strip() for each in (value or "").split(",") if each.strip())


def _without_secrets(value: str | None) -> str | None:
    listed = [str(parse_turn(each)) for each in _split(value)]
    return ",".join(listed) if value is not None else None


def _list_of(read: Callable[[str], object]) -> Callable[[str], None]:
    def check(value: str) -> None:
        for each in _split(value):
            try:
                read(each)
            except ConfigurationError as error:
                raise ValueError(str(error)) from None

    return check


def _one_of(*choices: str) -> Callable[[str], None]:
    def check(value: str) -> None:
        if value not in choices:
            raise ValueError(f"it is one of {', '.join(choices)}")

    return check


DEFAULTS: Final[Mapping[str, str | None]] = {
    "listen": None,
    "network_id": NodeConfig().network_id,
    "congestion_control": NodeConfig().congestion_control,
    "stun": None,
    "turn": None,
    "via": None,
    "rendezvous": "no",
    "port_prediction": "no",
    "lan": NodeConfig().lan,
    "port_mapping": "no",
    "passphrase_file": None,
    "log_level": "warning",
    "log_format": "text",
}
CHECKS: Final[Mapping[str, Callable[[str], None]]] = {
    "listen": _check_listen,
    "network_id": _check_network_id,
    "congestion_control": _one_of(*CONGESTION_CONTROLS),
    "stun": _list_of(parse_stun),
    "turn": _list_of(parse_turn),
    "via": _list_of(RendezvousServer.parse),
    "rendezvous": _one_of("yes", "no"),
    "port_prediction": _one_of("yes", "no"),
    "lan": _one_of(*LAN_MODES),
    "port_mapping": _one_of("yes", "no"),
    "passphrase_file": _check_path,
    "log_level": _one_of(*LOG_LEVELS),
    "log_format": _one_of(*LOG_FORMATS),
}


def read_configuration(
    flags: Mapping[str, str | None], environment: Mapping[str, str]
) -> Configuration:
    """Put the settings together.

    Args:
        flags: What the command line gave, by name (`data` or one of `CHECKS`); None where it gave nothing.
        environment: The environment variables; of those, `CULM_*` count.

    Raises:
        ConfigurationError: A name is unknown or a value is wrong; the text says where it stands.
    """
    variables = _variables(environment)
    data = _choose("data", flags, variables, {}, user_data_dir("culm"))
    _check("data", data, _check_path)
    written = _written(Path(data.value or "").expanduser().absolute() / FILE_NAME)
    chosen = {
        name: _choose(name, flags, variables, written, default)
        for name, default in DEFAULTS.items()
    }
    for name, setting in chosen.items():
        _check(name, setting, CHECKS[name])
    return Configuration(data=data, **chosen)


def _check(name: str, setting: Setting, check: Callable[[str], None]) -> None:
    if setting.value is None:
        return
    try:
        check(setting.value)
    except ValueError as error:
        shown = repr(setting.value) if name != "turn" else "not a list of TURN servers"
        raise ConfigurationError(f"{name} is {shown} ({setting.origin}): {error}") from None


def _choose(
    name: str,
    flags: Mapping[str, str | None],
    variables: Mapping[str, Setting],
    written: Mapping[str, Setting],
    default: str | None,
) -> Setting:
    flag = flags.get(name)
    if flag is not None:
        return Setting(value=flag, origin=f"flag --{name.replace('_', '-')}")
    found = variables.get(name) or written.get(name)
    return found or Setting(value=default, origin="default")


def _variables(environment: Mapping[str, str]) -> dict[str, Setting]:
    found = {}
    known = {PREFIX + name.upper(): name for name in ("data", *CHECKS)}
    for variable, value in environment.items():
        if not variable.startswith(PREFIX) or variable.startswith(PREFIX_OF_TESTS):
            continue
        if variable not in known:
            raise ConfigurationError(
                f"there is no environment variable {variable}{_did_you_mean(variable, known)}"
            )
        if value:
            found[known[variable]] = Setting(value=value, origin=f"environment {variable}")
    return found


def _written(path: Path) -> dict[str, Setting]:
    """Read the file; one that is not there says nothing."""
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({error.strerror})") from None
    if len(data) > FILE_BYTES_MAX:
        raise ConfigurationError(f"{path} has more than {FILE_BYTES_MAX:,} bytes")
    try:
        content = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from None
    found = {}
    for name, value in content.items():
        if name not in CHECKS:
            raise ConfigurationError(
                f"{path}: there is no setting {name!r}{_did_you_mean(name, CHECKS)}"
            )
        if not isinstance(value, str):
            raise ConfigurationError(f'{path}: {name} is a string: {name} = "..."')
        found[name] = Setting(value=value, origin=f"file {path}")
    return found


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f": did you mean {close[0]}?" if close else f"; there are {', '.join(names)}"
