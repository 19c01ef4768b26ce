"""The errors that a person reads: what failed, what was expected, and whether a retry is safe."""

from __future__ import annotations


class SlipwayError(Exception):
    """Something that a person has to know about.

    `failed` and `expected` are sentences without secrets; `retry_is_safe` is true when doing the same
    again can neither lose nor double anything.
    """

    def __init__(self, failed: str, *, expected: str, retry_is_safe: bool) -> None:
        self.failed = failed
        self.expected = expected
        self.retry_is_safe = retry_is_safe
        super().__init__(failed)

    def __str__(self) -> str:
        safe = "A retry is safe." if self.retry_is_safe else "Do not retry before a person has looked."
        return f"{self.failed} Expected: {self.expected} {safe}"

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.failed, self.expected, self.retry_is_safe)


class InvalidInput(SlipwayError):
    """What was asked for cannot be done as asked; nothing was touched, and the same request fails again."""

    def __init__(self, failed: str, *, expected: str) -> None:
        super().__init__(failed, expected=expected, retry_is_safe=True)


class Unavailable(SlipwayError):
    """Something does not answer; it may answer soon, and asking again does no harm."""

    def __init__(self, failed: str, *, expected: str) -> None:
        super().__init__(failed, expected=expected, retry_is_safe=True)


def _rebuild(kind: type[SlipwayError], failed: str, expected: str, retry_is_safe: bool) -> SlipwayError:
    error = kind.__new__(kind)
    SlipwayError.__init__(error, failed, expected=expected, retry_is_safe=retry_is_safe)
    return error
