"""Whether the packages that we import are ours: other distributions use the names `domain` and `adapters` too."""

import sys
from importlib.util import find_spec
from pathlib import Path


def check_packages() -> None:
    """End the process, saying why, where another distribution owns one of our packages."""
    home = Path(__file__).resolve().parents[2]
    for name in ("domain", "adapters"):
        spec = find_spec(name)
        found = Path(spec.origin).resolve() if spec is not None and spec.origin else None
        if found is None or found.parents[1] != home:
            sys.exit(
                f"culm: the package {name!r} is not the one that belongs to culm (found: {found}). Another"
                " distribution with this name is installed, or a folder of this name is on the path: install"
                " culm in a virtual environment of its own"
            )
