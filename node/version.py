"""Which version of culm this is."""

from importlib.metadata import PackageNotFoundError, version


def culm_version() -> str:
    """Give the version of the installed distribution; `unknown` in a checkout that is not installed."""
    try:
        return version("culm")
    except PackageNotFoundError:
        return "unknown"
