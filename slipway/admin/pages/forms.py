"""Read a submitted form into the parameters of a job, with an error message for each invalid field. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from slipway.admin.formatting import as_text
from slipway.admin.pages.form_fields import NO_VALUE, Field, Schema

PREFIX = "p."  # before a parameter's name in the form; separates parameters from the form's own fields
MAX_SHOWN = 60  # characters of an invalid value that its error message repeats


@dataclass(frozen=True)
class FilledForm:
    """A submitted form: the parameters, the text of each field, and the error of each invalid field."""

    parameters: dict[str, Any]
    values: dict[str, str]
    errors: dict[str, str]


EMPTY = FilledForm({}, {}, {})


def read(fields: Sequence[Field], schema: Schema, posted: Mapping[str, Sequence[str]]) -> FilledForm:
    """Return the typed values of the filled-in fields, validated against the schema.

    `posted` maps each name in the form to its values. The last value counts, because a checkbox follows its hidden
    "false". An empty field is left out, so that the job's own default applies.
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
        if value is not NO_VALUE and not _is_default(field, value):
            parameters[field.name] = value
    return FilledForm(parameters, values, {**_schema_errors(fields, schema, parameters), **errors})


def unknown_names(fields: Sequence[Field], posted: Mapping[str, Any], own: Sequence[str]) -> list[str]:
    """Return the submitted names that are neither a parameter of the job nor one of the form's own fields."""
    known = {PREFIX + field.name for field in fields} | set(own)
    return sorted(name for name in posted if name not in known)


def _is_default(field: Field, value: Any) -> bool:
    """Return whether the value equals the default of an optional field, so that it need not be sent."""
    return (
        not field.required
        and field.default is not NO_VALUE
        and type(value) is type(field.default)
        and value == field.default
    )


def _typed(field: Field, written: str) -> Any:
    """Return the typed value, or NO_VALUE for an empty field. Raises ValueError with a message for the user."""
    if field.kind == "long text":
        return written.replace("\r\n", "\n") if written.strip() else NO_VALUE
    written = written.strip()
    if not written:
        return NO_VALUE
    if field.kind == "lines":
        return _lines(field, written)
    if field.kind == "choice":
        return _choice(field, written)
    if field.kind == "json":
        return _json(written)
    return _scalar(field.kind, written)


def _scalar(kind: str, written: str) -> Any:
    if kind in ("whole number", "number"):
        return _number(kind, written)
    if kind == "boolean":
        if written not in ("true", "false"):
            raise ValueError(f"Enter true or false, not {_quoted(written)}.")
        return written == "true"
    return written


def _number(kind: str, written: str) -> int | float:
    try:
        return int(written)
    except ValueError:
        if kind == "whole number":
            raise ValueError(f"Enter a whole number, not {_quoted(written)}.") from None
    try:
        number = float(written)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"Enter a number, not {_quoted(written)}.")
    return number


def _lines(field: Field, written: str) -> list[Any]:
    lines = [line.strip() for line in written.splitlines() if line.strip()]
    kind = field.schema["items"]["type"]
    if kind == "string":
        return lines
    return [_number("whole number" if kind == "integer" else "number", line) for line in lines]


def _choice(field: Field, written: str) -> Any:
    for choice in field.choices:
        if as_text(choice) == written:
            return choice
    raise ValueError(f"Choose one of {', '.join(map(as_text, field.choices))}, not {_quoted(written)}.")


def _json(written: str) -> Any:
    try:
        return json.loads(written, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("The JSON is nested too deeply.") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"Not valid JSON: {error.msg} in line {error.lineno}, column {error.colno}.") from None


def _refuse_constant(written: str) -> Any:
    raise ValueError(f"JSON does not allow {written}.")


def _schema_errors(fields: Sequence[Field], schema: Schema, parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return the first error of each field that is missing or that the schema rejects."""
    errors: dict[str, str] = {field.name: "This field is required." for field in fields if field.required}
    errors = {name: message for name, message in errors.items() if name not in parameters}
    by_name = {field.name: field for field in fields}
    for error in Draft202012Validator({**schema, "required": []}).iter_errors(dict(parameters)):
        name = str(error.absolute_path[0]) if error.absolute_path else ""
        if name in by_name:
            errors.setdefault(name, _describe(by_name[name], error))
    return errors


def _describe(field: Field, error: ValidationError) -> str:
    """Return a schema error as a message for the user, with the line number if the field has several lines."""
    while error.context:  # of several alternatives, report the one that matches best
        error = max(error.context, key=lambda nested: (len(nested.absolute_path), nested.validator != "type"))
    path = list(error.absolute_path)[1:]
    line = f"Line {int(path[0]) + 1}: " if field.kind == "lines" and path else ""
    limit = error.validator_value
    message = {
        "pattern": f"{_quoted(as_text(error.instance))} does not match the pattern {limit}",
        "minLength": f"at least {limit} characters",
        "maxLength": f"at most {limit} characters",
        "minimum": f"at least {limit}",
        "maximum": f"at most {limit}",
        "exclusiveMinimum": f"above {limit}",
        "exclusiveMaximum": f"below {limit}",
        "multipleOf": f"a multiple of {limit}",
        "minItems": f"at least {limit} lines",
        "maxItems": f"at most {limit} lines",
        "uniqueItems": "each line only once",
    }.get(str(error.validator), error.message[:300])
    place = f"{'.'.join(map(str, path))}: " if path and not line else line
    return f"{place}{message[:1].upper()}{message[1:]}."


def _quoted(written: str) -> str:
    return f"“{written[:MAX_SHOWN]}…”" if len(written) > MAX_SHOWN else f"“{written}”"
