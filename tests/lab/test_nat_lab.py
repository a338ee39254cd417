"""A small part of the NAT lab: real nodes behind the kernel's own NAT. `scripts/nat_lab.py` has the rest.

Where network namespaces cannot be made it is skipped; as root that is an error, unless ALLOW_SKIPS=1.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
UNABLE = 3
LAB_S_MAX = 100
DOCTOR_S_MAX = 300
pytestmark = [pytest.mark.lab, pytest.mark.timeout(LAB_S_MAX + 20), pytest.mark.xdist_group("lab")]


def lab(*arguments: str, within_s: float = LAB_S_MAX) -> dict[str, Any]:
    """Run the lab, or skip the test if it cannot run here."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "nat_lab.py"), *arguments, "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
    )
    if done.returncode == UNABLE:
        if os.geteuid() == 0 and os.environ.get("ALLOW_SKIPS") != "1":
            pytest.fail(f"{done.stderr.strip()}; install what is missing, or set ALLOW_SKIPS=1")
        pytest.skip(done.stderr.strip())
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def test_port_restricted_boxes_let_nodes_meet_directly() -> None:
    result = lab("matrix", "--pairs", "port-restricted:port-restricted")
    assert (result["connected"], result["direct"]) == (1, 1), result


def test_two_in_one_house_find_each_other_with_no_server() -> None:
    result = lab("scenario", "nearby")
    assert (result["ok"], result["lost"]) == (True, 0), result


@pytest.mark.parametrize(
    "scenario",
    ["port-mapping", pytest.param("port-mapping-upnp", marks=pytest.mark.slow)],
)
def test_a_real_router_forwards_a_port_between_symmetric_boxes(scenario: str) -> None:
    result = lab("scenario", scenario)
    assert (result["ok"], result["path"]) == (True, "direct"), result


@pytest.mark.slow
@pytest.mark.timeout(DOCTOR_S_MAX + 20)
def test_the_doctor_names_each_network() -> None:
    networks = lab("doctor", within_s=DOCTOR_S_MAX)["networks"]
    assert {name for name, codes in networks.items() if f"nat-{name}" in codes} == {
        "full-cone",
        "address-restricted",
        "port-restricted",
        "symmetric",
    }
    assert "nat-full-cone" in networks["full-cone-hairpin"]
    assert {"udp-blocked", "turn-works", "rendezvous-works"} <= set(networks["udp-blocked"])
    for name, codes in networks.items():
        assert ("hairpin" in codes) == (name == "full-cone-hairpin"), name
        assert name == "public" or {"turn-works", "rendezvous-works"} <= set(codes), name


def test_a_relay_helps_where_no_udp_leaves() -> None:
    result = lab("matrix", "--pairs", "udp-blocked:symmetric")
    assert (result["connected"], result["direct"]) == (1, 0), result


def test_no_server_sees_anything_lasting_in_clear() -> None:
    result = lab("scenario", "eavesdropping")
    assert (result["ok"], result["path"], result["found"]) == (True, "relayed", []), result
