"""What the tests of several adapters share."""

from collections.abc import Iterator

import pytest

from slipway.adapters.store import Store


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    """An empty store."""
    made = Store(database)
    made.create_tables()
    yield made
    made.close()
