"""What a form sent: its fields, the key by which a double click is one run, and who says it."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from typing import Any

from fastapi import Request
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from admin.actions import Said
from admin.prefect_api import Document
from admin.templating import HEADERS, link, signed_in
from slipway.errors import InvalidInput

Posted = Mapping[str, list[str]]
OWN = ("csrf", "key", "confirm", "by", "why")  # fields of the form itself, beside a job's parameters
MOST_FIELDS = 500


async def posted(request: Request) -> Posted:
    """The fields of a form with their values. Raises InvalidInput for a file, or for more fields than a form has."""
    async with request.form(max_files=0, max_fields=MOST_FIELDS) as form:
        found: dict[str, list[str]] = {}
        for name, value in form.multi_items():
            found.setdefault(name, []).append(str(value))
    return found


def one(fields: Posted, name: str) -> str:
    """One field's value; empty for one that was not sent."""
    return fields.get(name, [""])[-1].strip()


def new_key() -> str:
    """The key of a form that is drawn now."""
    return secrets.token_urlsafe(16)


def key_of(fields: Posted, parameters: Document) -> str:
    """The idempotency key of a form: sent twice it is one run, sent again with other parameters another one.

    Raises InvalidInput for a key that no form of ours has drawn.
    """
    key = one(fields, "key")
    if not re.fullmatch(r"[A-Za-z0-9_-]{8,64}", key):
        raise InvalidInput("The form carries no key.", expected="A form as the page draws it; open it again.")
    written = json.dumps(parameters, sort_keys=True)
    return f"{key}-{hashlib.sha256(written.encode()).hexdigest()[:16]}"


def who_says(request: Request, fields: Posted) -> Said:
    """Who acts, and why. Raises InvalidInput in words, by field, when one of them is missing."""
    said: dict[str, Any] = {"by": signed_in(request) or one(fields, "by"), "why": one(fields, "why")}
    try:
        return Said.model_validate(said)
    except ValidationError as error:
        missing = " and ".join(str(fault["loc"][0]) for fault in error.errors())
        raise InvalidInput(f"The form does not say {missing}.", expected="2 letters at least, each.") from None


def go_to(request: Request, path: str) -> RedirectResponse:
    """On to one of the pages, to be read (303), so that a reload does not send the form again."""
    return RedirectResponse(link(request, path), status_code=303, headers=HEADERS)
