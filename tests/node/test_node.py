"""The embedder's door: what opening and closing a node does where something is in the way."""

import pytest

from domain.errors import StorageError
from node import Node


async def test_data_directory_of_nobody_is_a_storage_error() -> None:
    with pytest.raises(StorageError, match="cannot be used"):
        async with Node.open("~nobody-of-that-name/culm"):
            pass
