"""What an application sees of what culm logs: nothing, unless it asks."""

import subprocess
import sys

import pytest

LOG = """
import logging, sys
from node import Node
if sys.argv[1:]:
    logging.basicConfig(format="%(name)s %(message)s")
for name in ("node.peers", "adapters.quic.network", "quic"):
    logging.getLogger(name).warning("something.happened")
"""


@pytest.mark.parametrize("is_asked_for", [False, True])
def test_application_sees_what_is_logged_where_it_asks(is_asked_for: bool) -> None:
    command = [sys.executable, "-c", LOG, *(["show"] if is_asked_for else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    names = ["node.peers", "adapters.quic.network", "quic"] if is_asked_for else []
    assert done.stderr.splitlines() == [f"{name} something.happened" for name in names]
