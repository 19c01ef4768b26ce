"""Prefect's Secret blocks, for the references `{ secret = "name" }` in slipway.toml."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from httpx import HTTPError
from prefect.blocks.system import Secret
from prefect.exceptions import PrefectException
from prefect.utilities.asyncutils import run_coro_as_sync

from slipway.core.errors import InvalidInput, Unavailable


def secret_value(name: str) -> str:
    """Return the value of a Secret. Raises InvalidInput if no Secret has that name, and Unavailable without Prefect."""
    # In a separate thread: the caller's thread may run an event loop, which must not block.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(_load, name).result()


def _load(name: str) -> str:
    try:
        block: object = run_coro_as_sync(Secret.aload(name))
    except ValueError:
        raise InvalidInput(
            f"There is no Prefect Secret {name!r}.", expected="A Secret block with the name that slipway.toml uses."
        ) from None
    except (HTTPError, PrefectException) as error:
        raise Unavailable(
            f"Could not read the Secret {name!r} from Prefect: {type(error).__name__}.",
            expected="The Prefect server answers.",
        ) from None
    assert isinstance(block, Secret)
    return str(block.get())
