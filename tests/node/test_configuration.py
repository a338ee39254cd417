from pathlib import Path

import pytest

from domain.errors import ConfigurationError
from node.configuration import CHECKS, Configuration, read_configuration


def read(directory: Path, environment: dict[str, str] | None = None, **flags: str) -> Configuration:
    return read_configuration({"data": str(directory), **flags}, environment or {})


def write(directory: Path, text: str) -> None:
    (directory / "culm.toml").write_text(text)


def test_flag_counts_before_environment_before_file_before_default(tmp_path: Path) -> None:
    seen = [read(tmp_path).listen]
    write(tmp_path, 'listen = "127.0.0.1:1"')
    seen.append(read(tmp_path).listen)
    environment = {"CULM_LISTEN": "127.0.0.1:2"}
    seen.append(read(tmp_path, environment).listen)
    seen.append(read(tmp_path, environment, listen="127.0.0.1:3").listen)
    assert [setting.value for setting in seen] == [
        None,
        "127.0.0.1:1",
        "127.0.0.1:2",
        "127.0.0.1:3",
    ]
    origins = [
        "default",
        f"file {tmp_path / 'culm.toml'}",
        "environment CULM_LISTEN",
        "flag --listen",
    ]
    assert [setting.origin for setting in seen] == origins


def test_data_directory_comes_from_flag_or_environment(tmp_path: Path) -> None:
    assert read_configuration({}, {"CULM_DATA": str(tmp_path)}).directory == tmp_path
    assert read_configuration({}, {}).data.origin == "default"
    assert read_configuration({}, {}).directory.name == "culm"


def test_file_is_that_of_the_data_directory_of_the_environment(tmp_path: Path) -> None:
    write(tmp_path, 'network_id = "ours"')
    found = read_configuration({}, {"CULM_DATA": str(tmp_path)})
    assert found.node_config().network_id == "ours"


def test_every_setting_is_described_with_its_origin(tmp_path: Path) -> None:
    described = read(tmp_path).describe()
    assert described.keys() == {"data", *CHECKS}
    assert described["log_level"] == {"value": "warning", "origin": "default"}


def test_router_is_asked_for_a_port_where_that_is_switched_on_and_by_no_local_command(
    tmp_path: Path,
) -> None:
    assert not read(tmp_path).node_config().port_mapping
    write(tmp_path, 'port_mapping = "yes"')
    assert read(tmp_path).node_config().port_mapping
    assert not read(tmp_path).node_config(is_local=True).port_mapping


def test_local_command_listens_on_loopback_alone(tmp_path: Path) -> None:
    config = read(tmp_path, listen="0.0.0.0:4711").node_config(is_local=True)
    assert config.listen == "127.0.0.1:0"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('lissten = "127.0.0.1:0"', "did you mean listen?"),
        ("listen = 4711", "is a string"),
        ("listen", "is not TOML"),
        ('listen = "here"', "is 'here' (file "),
        ('log_level = "loud"', "it is one of debug, info"),
        ('network_id = ""', "1 to 64 bytes"),
        ('congestion_control = "fast"', "it is one of culm, cubic, reno"),
        ('data = "elsewhere"', "there is no setting 'data'"),
        ('passphrase_file = "~nobody-of-that-name/x"', "no home of that user"),
        ('passphrase_file = ""', "it is a path"),
        ("listen = " + "[" * 60_000, "is not TOML"),
    ],
)
def test_wrong_file_is_an_error_that_says_where(tmp_path: Path, text: str, expected: str) -> None:
    write(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path)
    assert expected in str(caught.value)
    assert "culm.toml" in str(caught.value)


@pytest.mark.parametrize("data", ["", "~nobody-of-that-name/x"])
def test_data_directory_that_is_no_path_is_an_error_that_says_where(data: str) -> None:
    with pytest.raises(ConfigurationError, match=r"data is .* \(flag --data\)"):
        read_configuration({"data": data}, {})


def test_network_id_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"network_id is .*UTF-8"):
        read(tmp_path, {"CULM_NETWORK_ID": "\udcff"})


def test_file_that_is_not_utf8_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "culm.toml").write_bytes(b'listen = "\xff"')
    with pytest.raises(ConfigurationError):
        read(tmp_path)


def test_file_of_any_size_is_not_read(tmp_path: Path) -> None:
    write(tmp_path, "#" * 70_000)
    with pytest.raises(ConfigurationError, match="bytes"):
        read(tmp_path)


def test_unknown_variable_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="did you mean CULM_LISTEN"):
        read(tmp_path, {"CULM_LISTN": "127.0.0.1:0"})


def test_variables_of_others_and_of_the_tests_are_left_alone(tmp_path: Path) -> None:
    assert read(tmp_path, {"LISTEN": "x", "CULM_TEST_SEED": "1"}).listen.value is None


def test_empty_variable_says_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, {"CULM_LISTEN": ""}).listen.origin == "default"
