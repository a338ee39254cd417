"""The embedder's door: `async with Node.open(path) as node`.

What it offers is loaded on first use, so that the command line answers `--help` before it has loaded any engine.
"""

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from node.config import NodeConfig
    from node.document import Document
    from node.node import DocumentInfo, Node

__all__ = ["Document", "DocumentInfo", "Node", "NodeConfig"]

# An application that has not set up logging sees nothing: else any stranger's bad packet is a line on its terminal.
for _name in ("node", "adapters", "quic"):
    logging.getLogger(_name).addHandler(logging.NullHandler())


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from node import config, document, node  # noqa: PLC0415 - this is the first use
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in {"domain", "adapters"}:
            raise
        raise ImportError(
            f"{error.name!r} is missing: the package {package!r} that Python finds belongs to another distribution;"
            " install culm in an environment of its own"
        ) from error
    offered = (config.NodeConfig, document.Document, node.DocumentInfo, node.Node)
    globals().update({each.__name__: each for each in offered})
    return globals()[name]
