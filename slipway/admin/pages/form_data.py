"""The data of a submitted form: its fields, its idempotency key (a double click starts one run), and the user's reason."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Mapping

from fastapi import Request
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from slipway.admin.actions import ActionRequest, Reason, action_request
from slipway.admin.auth.caller import Caller
from slipway.admin.prefect_api import Document
from slipway.admin.templating import HEADERS, link
from slipway.core.errors import InvalidInput

FormData = Mapping[str, list[str]]
OWN_FIELDS = ("csrf", "key", "confirm", "why")  # fields of the form itself, which are not parameters of the job
MAX_FIELDS = 500


async def read_form(request: Request) -> FormData:
    """Return the fields of a form with their values. Raises InvalidInput if a value contains a NUL character."""
    async with request.form(max_files=0, max_fields=MAX_FIELDS) as form:
        fields: dict[str, list[str]] = {}
        for name, value in form.multi_items():
            fields.setdefault(name, []).append(str(value))
    if any("\0" in value for values in fields.values() for value in values):  # PostgreSQL cannot store NUL in text
        raise InvalidInput("The form contains a NUL character.", expected="Text without NUL characters.")
    return fields


def field_value(fields: FormData, name: str) -> str:
    """Return the last value of a field, without surrounding white space; empty if the field was not sent."""
    return fields.get(name, [""])[-1].strip()


def new_key() -> str:
    """Return a random idempotency key for a new form."""
    return secrets.token_urlsafe(16)


def idempotency_key(fields: FormData, parameters: Document) -> str:
    """Return the idempotency key of a form and its parameters.

    The same form sent twice starts one run; sent again with other parameters, it starts another run. Raises
    InvalidInput for a missing or malformed key.
    """
    key = field_value(fields, "key")
    if not re.fullmatch(r"[A-Za-z0-9_-]{8,64}", key):
        raise InvalidInput("The form has no valid key.", expected="The form as the page sends it: reload the page.")
    encoded = json.dumps(parameters, sort_keys=True)
    return f"{key}-{hashlib.sha256(encoded.encode()).hexdigest()[:16]}"


def read_action_request(caller: Caller, fields: FormData) -> ActionRequest:
    """Return the reason from the form, in the name of the signed-in user. Raises InvalidInput if the reason is missing."""
    try:
        return action_request(caller, Reason(why=field_value(fields, "why")))
    except ValidationError:
        raise InvalidInput(
            "The reason is missing, too short or too long.", expected="A reason of 2 to 2,000 characters."
        ) from None


def redirect_to(request: Request, path: str) -> RedirectResponse:
    """Redirect to a page (303 See Other), so that a reload does not send the form again."""
    return RedirectResponse(link(request, path), status_code=303, headers=HEADERS)
