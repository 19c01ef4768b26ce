"""What a form sent: its fields, the key by which a double click is one run, and why somebody acts."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Mapping

from fastapi import Request
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from slipway.admin.actions import ActionRequest, Reason, said_by
from slipway.admin.auth.caller import Caller
from slipway.admin.prefect_api import Document
from slipway.admin.templating import HEADERS, link
from slipway.core.errors import InvalidInput

Posted = Mapping[str, list[str]]
OWN = ("csrf", "key", "confirm", "why")  # fields of the form itself, beside a job's parameters
MOST_FIELDS = 500


async def posted(request: Request) -> Posted:
    """The fields of a form with their values. Raises InvalidInput for what is no text."""
    async with request.form(max_files=0, max_fields=MOST_FIELDS) as form:
        found: dict[str, list[str]] = {}
        for name, value in form.multi_items():
            found.setdefault(name, []).append(str(value))
    if any("\0" in value for values in found.values() for value in values):  # which no database keeps
        raise InvalidInput("The form carries a NUL.", expected="Text.")
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


def said(caller: Caller, fields: Posted) -> ActionRequest:
    """Why somebody acts, in the name of who is signed in. Raises InvalidInput in words where it does not say why."""
    try:
        return said_by(caller, Reason(why=one(fields, "why")))
    except ValidationError:
        raise InvalidInput("The form does not say why.", expected="2 to 2,000 letters.") from None


def go_to(request: Request, path: str) -> RedirectResponse:
    """On to one of the pages, to be read (303), so that a reload does not send the form again."""
    return RedirectResponse(link(request, path), status_code=303, headers=HEADERS)
