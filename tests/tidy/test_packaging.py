"""What gets installed: the lock, the distribution, and who else claims the names of our packages."""

import re
import tomllib
from importlib.metadata import packages_distributions
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.tidy.repository import PACKAGES, ROOT

LOCKED: Final = re.compile(r"(?P<name>[\w.-]+)==(?P<version>[^\s;]+)")


def project() -> dict[str, Any]:
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    table: dict[str, Any] = content["project"]
    return table


def lock_lines() -> list[str]:
    """The lines of the lock, one for each distribution, without its comments."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    kept = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return "\n".join(kept).replace("\\\n", " ").splitlines()


def test_lock_holds_every_dependency() -> None:
    locked = {}
    for line in lock_lines():
        match = LOCKED.match(line)
        assert match, line
        locked[canonicalize_name(match["name"])] = match["version"]
    extras = project()["optional-dependencies"].values()
    wanted = [Requirement(text) for texts in (project()["dependencies"], *extras) for text in texts]
    stale = [
        str(requirement)
        for requirement in wanted
        if (version := locked.get(canonicalize_name(requirement.name))) is None
        or not requirement.specifier.contains(version, prereleases=True)
    ]
    assert stale == [], "run `make lock`"


def test_lock_pins_by_hash_and_names_no_place() -> None:
    assert [line for line in lock_lines() if "--hash=sha256:" not in line] == []
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert not re.search(r"://|--(?:extra-)?index|--find-links|--trusted-host", text)


def test_nobody_else_installs_our_packages() -> None:
    owners = packages_distributions()
    others = {name: set(owners.get(name, [])) - {project()["name"]} for name in PACKAGES}
    assert others == {name: set() for name in PACKAGES}


def test_command_is_called_culm() -> None:
    assert project()["scripts"] == {"culm": "node.cli:main"}
