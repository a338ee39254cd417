"""Which device is called what, by what the devices say themselves in the log."""

from domain.document import Document
from domain.errors import NotPermittedError
from domain.operations.device import DeviceMetadata
from domain.operations.operation import Operation
from domain.ports.environment import Entropy


def write_metadata(
    document: Document, metadata: DeviceMetadata, *, now_us: int, entropy: Entropy
) -> Operation:
    """Sign and stage what this device says about itself.

    Raises:
        NotPermittedError: This device may not write in the document, or holds no secret to seal with yet.
    """
    if not document.may_write:
        raise NotPermittedError("only who may write in a document can name its device there")
    if document.current_secret() is None:
        raise NotPermittedError("this device was not given the document's secret yet: try again")
    return document.author.write_metadata(metadata, now_us=now_us, entropy=entropy)
