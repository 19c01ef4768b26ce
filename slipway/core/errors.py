"""The errors that users read: what failed, what was expected, and whether a retry is safe."""

from __future__ import annotations


class SlipwayError(Exception):
    """The base of all errors that a user should see.

    `failed` and `expected` are sentences without secrets. `retry_is_safe` is true if a retry cannot lose or duplicate
    anything.
    """

    def __init__(self, failed: str, *, expected: str, retry_is_safe: bool) -> None:
        self.failed = failed
        self.expected = expected
        self.retry_is_safe = retry_is_safe
        super().__init__(failed)

    def __str__(self) -> str:
        safe = "A retry is safe." if self.retry_is_safe else "A retry is not safe: check the cause first."
        return f"{self.failed} Expected: {self.expected} {safe}"

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.failed, self.expected, self.retry_is_safe)


class InvalidInput(SlipwayError):
    """The request is not valid. Nothing was changed, and the same request fails again."""

    def __init__(self, failed: str, *, expected: str) -> None:
        super().__init__(failed, expected=expected, retry_is_safe=True)


class Unavailable(SlipwayError):
    """A service or database does not answer. It may answer soon, and a retry is safe."""

    def __init__(self, failed: str, *, expected: str) -> None:
        super().__init__(failed, expected=expected, retry_is_safe=True)


def _rebuild(kind: type[SlipwayError], failed: str, expected: str, retry_is_safe: bool) -> SlipwayError:
    error = kind.__new__(kind)
    SlipwayError.__init__(error, failed, expected=expected, retry_is_safe=retry_is_safe)
    return error
