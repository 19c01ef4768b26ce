"""What a person filled into a form, read back into a job's parameters, with what is wrong beside each field. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from slipway.admin.formatting import told
from slipway.admin.pages.form_fields import UNKNOWN, Field, Schema

PREFIX = "p."  # of a parameter's name in the form, so that none is taken for a field of the form itself
MAX_SHOWN = 60  # characters of a wrong value that its error repeats


@dataclass(frozen=True)
class Filled:
    """A form as it was sent: the parameters, what stood in each field, and what is wrong with it."""

    parameters: dict[str, Any]
    values: dict[str, str]
    errors: dict[str, str]


EMPTY = Filled({}, {}, {})


def read(fields: Sequence[Field], schema: Schema, posted: Mapping[str, Sequence[str]]) -> Filled:
    """The values of the fields that were filled in, each of its type, checked against the schema.

    `posted` are the values by the names in the form; of several the last one counts, as a checkbox stands behind its
    hidden "false". An empty field is left out, so that the job's own default applies.
    """
    values = {field.name: posted[PREFIX + field.name][-1] for field in fields if posted.get(PREFIX + field.name)}
    parameters: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for field in fields:
        try:
            value = _typed(field, values.get(field.name, ""))
        except ValueError as error:
            errors[field.name] = str(error)
            continue
        if value is not UNKNOWN and not _is_default(field, value):
            parameters[field.name] = value
    return Filled(parameters, values, {**_faults(fields, schema, parameters), **errors})


def unknown(fields: Sequence[Field], posted: Mapping[str, Any], own: Sequence[str]) -> list[str]:
    """What was sent that is neither a parameter of the job nor one of the form's own fields."""
    known = {PREFIX + field.name for field in fields} | set(own)
    return sorted(name for name in posted if name not in known)


def _is_default(field: Field, value: Any) -> bool:
    """Whether nobody need say it: a box that is as it was, a choice that was made before."""
    return (
        not field.required
        and field.default is not UNKNOWN
        and type(value) is type(field.default)
        and value == field.default
    )


def _typed(field: Field, written: str) -> Any:
    """The value, or UNKNOWN for a field that was left empty. Raises ValueError in words."""
    if field.kind == "long text":
        return written.replace("\r\n", "\n") if written.strip() else UNKNOWN
    written = written.strip()
    if not written:
        return UNKNOWN
    if field.kind == "lines":
        return _lines(field, written)
    if field.kind == "choice":
        return _chosen(field, written)
    if field.kind == "json":
        return _json(written)
    return _scalar(field.kind, written)


def _scalar(kind: str, written: str) -> Any:
    if kind in ("whole number", "number"):
        return _number(kind, written)
    if kind == "boolean":
        if written not in ("true", "false"):
            raise ValueError(f"Yes or no, not {_short(written)}.")
        return written == "true"
    return written


def _number(kind: str, written: str) -> int | float:
    try:
        return int(written)
    except ValueError:
        if kind == "whole number":
            raise ValueError(f"A whole number, not {_short(written)}.") from None
    try:
        found = float(written)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise ValueError(f"A number, not {_short(written)}.")
    return found


def _lines(field: Field, written: str) -> list[Any]:
    lines = [line.strip() for line in written.splitlines() if line.strip()]
    kind = field.schema["items"]["type"]
    if kind == "string":
        return lines
    return [_number("whole number" if kind == "integer" else "number", line) for line in lines]


def _chosen(field: Field, written: str) -> Any:
    for choice in field.choices:
        if told(choice) == written:
            return choice
    raise ValueError(f"One of {', '.join(map(told, field.choices))}, not {_short(written)}.")


def _json(written: str) -> Any:
    try:
        return json.loads(written, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("This is nested too deeply.") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"This is no JSON: {error.msg} in line {error.lineno}, column {error.colno}.") from None


def _no_number(written: str) -> Any:
    raise ValueError(f"JSON knows no {written}.")


def _faults(fields: Sequence[Field], schema: Schema, parameters: Mapping[str, Any]) -> dict[str, str]:
    """What the schema says against the values, the first fault of each field."""
    found: dict[str, str] = {field.name: "This is needed." for field in fields if field.required}
    found = {name: words for name, words in found.items() if name not in parameters}
    by_name = {field.name: field for field in fields}
    for fault in Draft202012Validator({**schema, "required": []}).iter_errors(dict(parameters)):
        name = str(fault.absolute_path[0]) if fault.absolute_path else ""
        if name in by_name:
            found.setdefault(name, _words(by_name[name], fault))
    return found


def _words(field: Field, fault: ValidationError) -> str:
    """A fault as a person reads it, with the line where it is one of several."""
    while fault.context:  # of several things that it may be, the one that comes closest
        fault = max(fault.context, key=lambda each: (len(each.absolute_path), each.validator != "type"))
    path = list(fault.absolute_path)[1:]
    place = f"Line {int(path[0]) + 1}: " if field.kind == "lines" and path else ""
    limit = fault.validator_value
    words = {
        "pattern": f"{_short(told(fault.instance))} does not have the form {limit}",
        "minLength": f"at least {limit} characters",
        "maxLength": f"at most {limit} characters",
        "minimum": f"at least {limit}",
        "maximum": f"at most {limit}",
        "exclusiveMinimum": f"above {limit}",
        "exclusiveMaximum": f"below {limit}",
        "multipleOf": f"a multiple of {limit}",
        "minItems": f"at least {limit} lines",
        "maxItems": f"at most {limit} lines",
        "uniqueItems": "each line once",
    }.get(str(fault.validator), fault.message[:300])
    where = f"{'.'.join(map(str, path))}: " if path and not place else place
    return f"{where}{words[:1].upper()}{words[1:]}."


def _short(written: str) -> str:
    return f"“{written[:MAX_SHOWN]}…”" if len(written) > MAX_SHOWN else f"“{written}”"
