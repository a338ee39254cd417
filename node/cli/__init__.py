"""The command line: what a person types becomes a command to a node, and its answers what a person reads.

The commands themselves are in `node.commands`. Nothing here loads an engine before it is needed, so that `--help` is
quick.
"""

import sys

from node.cli.check import check_packages
from node.cli.streams import open_streams


def main() -> None:
    """Run the command `culm` and leave the process with its exit code."""
    open_streams()
    check_packages()
    from node.cli import answering, application  # noqa: PLC0415 - only once the packages are ours

    del application  # it brings the commands
    answering.run_application(sys.argv[1:])
