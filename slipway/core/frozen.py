"""The base class of the frozen models, and the patterns of the names in them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _one_expression(written: str) -> str:
    """Refuse text that would end the statement or comment out its rest. Not more: the file is reviewed like code."""
    for sign in (";", "--", "/*"):
        if sign in written:
            raise ValueError(f"must be one SQL expression without {sign!r}")
    return written


ServiceName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")]  # a token of RFC 9110; cookies too
HeaderValue = Annotated[str, Field(pattern=r"^[\x21-\x7e]([\x20-\x7e]{0,198}[\x21-\x7e])?$")]
ROUTE = r"^/([^\s#\\/][^\s#\\]*)?$"  # "//x" would be another host
TAG = r"^[a-z0-9-]{1,128}$"
Route = Annotated[str, Field(pattern=ROUTE, max_length=500)]
Tag = Annotated[str, Field(pattern=TAG)]
IdentityName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
Revision = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$")]
Argument = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f]+$")]
Argv = Annotated[tuple[Argument, ...], Field(min_length=1)]
Expression = Annotated[str, Field(min_length=1, max_length=4_000), AfterValidator(_one_expression)]

ANONYMOUS = "anonymous"


class FrozenModel(BaseModel):
    """A frozen model. An unknown key is an error, so that a typo is never silent."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class RouteAs(FrozenModel):
    """A route as one identity sees it."""

    route: Route
    identity: IdentityName = ANONYMOUS
