"""Prefect's Secret blocks, for the references `{ secret = "name" }` in slipway.toml."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from httpx import HTTPError
from prefect.blocks.system import Secret
from prefect.exceptions import PrefectException
from prefect.utilities.asyncutils import run_coro_as_sync

from slipway.core.errors import InvalidInput, Unavailable


def secret_value(name: str) -> str:
    """The value of a Secret. Raises InvalidInput when there is none of that name, and Unavailable without Prefect."""
    # In a thread of its own: the one that asks may have an event loop running, in which nothing can be waited for.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(_load, name).result()


def _load(name: str) -> str:
    try:
        block: object = run_coro_as_sync(Secret.aload(name))
    except ValueError:
        raise InvalidInput(
            f"There is no Prefect Secret {name!r}.", expected="One of that name, as slipway.toml names it."
        ) from None
    except (HTTPError, PrefectException) as error:
        raise Unavailable(
            f"Prefect does not tell the Secret {name!r}: {type(error).__name__}.", expected="A Prefect server."
        ) from None
    assert isinstance(block, Secret)
    return str(block.get())
