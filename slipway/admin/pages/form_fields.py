"""Convert the JSON Schema of a job's parameters into form fields. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from slipway.admin.formatting import as_text

Kind = Literal["text", "long text", "whole number", "number", "boolean", "choice", "date", "lines", "json"]
Schema = Mapping[str, Any]
NO_VALUE: Any = object()  # no default, or no value; None can be a default
LONG = 200  # characters; a text that may be longer gets a text area
MAX_DEPTH = 20  # of nested references: ends the resolution of a schema that refers to itself


@dataclass(frozen=True)
class Field:
    """One parameter as a form field. `schema` is the parameter's schema with references resolved and null removed."""

    name: str
    kind: Kind
    schema: Schema
    required: bool = False
    nullable: bool = False
    default: Any = NO_VALUE
    description: str = ""
    choices: tuple[Any, ...] = ()
    suggestions: tuple[str, ...] = ()

    @property
    def has_default(self) -> bool:
        """Whether a default applies when the field is left empty."""
        return self.default is not NO_VALUE and self.default not in (None, [], "")

    @property
    def default_text(self) -> str:
        """Return the default as the user would type it."""
        return "\n".join(map(str, self.default)) if self.kind == "lines" else as_text(self.default)

    @property
    def limits(self) -> str:
        """Return the limits of the value as text: `1 to 10`, `at least 3 characters`; empty without limits."""
        schema = self.schema
        if self.kind in ("whole number", "number"):
            return _number_limits(schema)
        if self.kind == "lines":
            return _span(schema.get("minItems"), schema.get("maxItems"), "line", "lines")
        if self.kind in ("text", "long text"):
            return _span(schema.get("minLength"), schema.get("maxLength"), "character", "characters")
        return ""


def fields(schema: Schema, *, services: Sequence[str] = (), changes: Sequence[str] = ()) -> tuple[Field, ...]:
    """Return the parameters of a job in schema order. `service` is a choice of `services`, `change` suggests `changes`."""
    required = schema.get("required") or ()
    plain = [_field(name, own, schema, name in required) for name, own in (schema.get("properties") or {}).items()]
    return tuple(_with_known_names(field, services, changes) for field in plain)


def _field(name: str, schema: Schema, root: Schema, required: bool) -> Field:
    plain, nullable = _without_null(_resolved(schema, root), root)
    items = plain.get("items")
    if isinstance(items, Mapping):
        plain = {**plain, "items": _without_null(_resolved(items, root), root)[0]}
    description = schema.get("description") or plain.get("description") or ""
    default = schema["default"] if "default" in schema else plain.get("default", NO_VALUE)
    choices = tuple(plain["enum"]) if isinstance(plain.get("enum"), list) else ()
    choices = (plain["const"],) if "const" in plain else choices
    return Field(name, _kind(plain, choices), plain, required, nullable, default, str(description), choices)


def _with_known_names(field: Field, services: Sequence[str], changes: Sequence[str]) -> Field:
    """Add the known services as choices, or the known changes as suggestions."""
    if field.kind != "text":
        return field
    if field.name == "service" and services:
        return replace(field, kind="choice", choices=tuple(services))
    return replace(field, suggestions=tuple(changes)) if field.name == "change" else field


def _kind(schema: Schema, choices: tuple[Any, ...]) -> Kind:
    """Return the kind of field for a schema; `json` if no other kind fits."""
    if choices:
        return "choice"
    kind = schema.get("type")
    if kind == "string":
        if schema.get("format") == "date":
            return "date"
        return "long text" if schema.get("maxLength", 0) > LONG and not schema.get("pattern") else "text"
    if kind == "array" and _is_plain(schema.get("items")):
        return "lines"
    scalars: dict[Any, Kind] = {"integer": "whole number", "number": "number", "boolean": "boolean"}
    return scalars.get(kind, "json") if isinstance(kind, str) else "json"


def _is_plain(items: Any) -> bool:
    return isinstance(items, Mapping) and items.get("type") in ("string", "integer", "number")


def _resolved(schema: Schema, root: Schema) -> Schema:
    """Return the schema with its references resolved. Keys next to a reference override the keys of its target."""
    for _ in range(MAX_DEPTH):
        siblings = {key: value for key, value in schema.items() if key not in ("$ref", "allOf")}
        all_of = schema.get("allOf")
        if "$ref" in schema:
            schema = {**_target(str(schema["$ref"]), root), **siblings}
        elif isinstance(all_of, list) and len(all_of) == 1 and isinstance(all_of[0], Mapping):
            schema = {**all_of[0], **siblings}
        else:
            return schema
    return {}


def _target(reference: str, root: Schema) -> Schema:
    """Return the target of a JSON Pointer (RFC 6901) in this document; empty if there is none, or in another document."""
    target: Any = root if reference.startswith("#/") else None
    for escaped in reference[2:].split("/"):
        key = escaped.replace("~1", "/").replace("~0", "~")
        target = target.get(key) if isinstance(target, Mapping) else None
    return target if isinstance(target, Mapping) else {}


def _without_null(schema: Schema, root: Schema) -> tuple[Schema, bool]:
    """Return the single alternative to null (or the schema itself if there are several), and whether null is allowed."""
    alternatives = schema.get("anyOf") or schema.get("oneOf")
    if not isinstance(alternatives, list):
        return schema, False
    resolved = [_resolved(alternative, root) for alternative in alternatives]
    non_null = [alternative for alternative in resolved if alternative.get("type") != "null"]
    if len(non_null) != 1:
        return schema, len(non_null) < len(resolved)
    siblings = {key: value for key, value in schema.items() if key not in ("anyOf", "oneOf")}
    return {**non_null[0], **siblings}, len(non_null) < len(resolved)


def _number_limits(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{low} to {high}"
    labels = (
        ("minimum", "at least"),
        ("exclusiveMinimum", "above"),
        ("maximum", "at most"),
        ("exclusiveMaximum", "below"),
    )
    return ", ".join(f"{label} {schema[name]}" for name, label in labels if schema.get(name) is not None)


def _span(low: Any, high: Any, singular: str, plural: str) -> str:
    """Return `at least 3 characters`, `at most 1 line`, `3 to 5 lines`; empty without limits."""
    if low and high:
        return f"{low} to {high} {plural}"
    if low:
        return f"at least {low} {singular if low == 1 else plural}"
    return f"at most {high} {singular if high == 1 else plural}" if high else ""
