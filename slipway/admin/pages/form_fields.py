"""A job's parameters, as its JSON Schema describes them, as fields of a form. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from slipway.admin.formatting import told

Kind = Literal["text", "long text", "whole number", "number", "boolean", "choice", "date", "lines", "json"]
Schema = Mapping[str, Any]
UNKNOWN: Any = object()  # a default that there is none of; None is one
LONG = 200  # a text that may be longer gets room for it
MAX_DEPTH = 20  # of references to references: a schema that names itself ends here


@dataclass(frozen=True)
class Field:
    """One parameter as a field; `schema` is its own, without references, and without the null that it may be."""

    name: str
    kind: Kind
    schema: Schema
    required: bool = False
    nullable: bool = False
    default: Any = UNKNOWN
    description: str = ""
    choices: tuple[Any, ...] = ()
    suggestions: tuple[str, ...] = ()

    @property
    def has_default(self) -> bool:
        """Whether something applies when the field is left empty."""
        return self.default is not UNKNOWN and self.default not in (None, [], "")

    @property
    def default_words(self) -> str:
        """The default as a person would fill it in."""
        return "\n".join(map(str, self.default)) if self.kind == "lines" else told(self.default)

    @property
    def limits(self) -> str:
        """What a value must keep to, in words: `1 to 10`, `at least 3 characters`."""
        schema = self.schema
        if self.kind in ("whole number", "number"):
            return _number_limits(schema)
        if self.kind == "lines":
            return _span(schema.get("minItems"), schema.get("maxItems"), "line", "lines")
        if self.kind in ("text", "long text"):
            return _span(schema.get("minLength"), schema.get("maxLength"), "character", "characters")
        return ""


def fields(schema: Schema, *, services: Sequence[str] = (), changes: Sequence[str] = ()) -> tuple[Field, ...]:
    """The parameters of a job in their order. `service` is chosen from the services, `change` has suggestions."""
    needed = schema.get("required") or ()
    found = [_field(name, each, schema, name in needed) for name, each in (schema.get("properties") or {}).items()]
    return tuple(_known(field, services, changes) for field in found)


def _field(name: str, schema: Schema, root: Schema, required: bool) -> Field:
    plain, nullable = _without_null(_resolved(schema, root), root)
    items = plain.get("items")
    if isinstance(items, Mapping):
        plain = {**plain, "items": _without_null(_resolved(items, root), root)[0]}
    description = schema.get("description") or plain.get("description") or ""
    default = schema["default"] if "default" in schema else plain.get("default", UNKNOWN)
    choices = tuple(plain["enum"]) if isinstance(plain.get("enum"), list) else ()
    choices = (plain["const"],) if "const" in plain else choices
    return Field(name, _kind(plain, choices), plain, required, nullable, default, str(description), choices)


def _known(field: Field, services: Sequence[str], changes: Sequence[str]) -> Field:
    """What Slipway knows the names of is picked from them."""
    if field.kind != "text":
        return field
    if field.name == "service" and services:
        return replace(field, kind="choice", choices=tuple(services))
    return replace(field, suggestions=tuple(changes)) if field.name == "change" else field


def _kind(schema: Schema, choices: tuple[Any, ...]) -> Kind:
    """The field that a value of this schema is filled into; whatever is none of these is written as JSON."""
    if choices:
        return "choice"
    kind = schema.get("type")
    if kind == "string":
        if schema.get("format") == "date":
            return "date"
        return "long text" if schema.get("maxLength", 0) > LONG and not schema.get("pattern") else "text"
    if kind == "array" and _is_plain(schema.get("items")):
        return "lines"
    plain: dict[Any, Kind] = {"integer": "whole number", "number": "number", "boolean": "boolean"}
    return plain.get(kind, "json") if isinstance(kind, str) else "json"


def _is_plain(items: Any) -> bool:
    return isinstance(items, Mapping) and items.get("type") in ("string", "integer", "number")


def _resolved(schema: Schema, root: Schema) -> Schema:
    """The schema with what it refers to in its place; what stands beside a reference counts more."""
    for _ in range(MAX_DEPTH):
        beside = {key: value for key, value in schema.items() if key not in ("$ref", "allOf")}
        alone = schema.get("allOf")
        if "$ref" in schema:
            schema = {**_at(str(schema["$ref"]), root), **beside}
        elif isinstance(alone, list) and len(alone) == 1 and isinstance(alone[0], Mapping):
            schema = {**alone[0], **beside}
        else:
            return schema
    return {}


def _at(reference: str, root: Schema) -> Schema:
    """What a JSON Pointer (RFC 6901) into the same document leads to; nothing for one that leads elsewhere."""
    found: Any = root if reference.startswith("#/") else None
    for written in reference[2:].split("/"):
        part = written.replace("~1", "/").replace("~0", "~")
        found = found.get(part) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _without_null(schema: Schema, root: Schema) -> tuple[Schema, bool]:
    """The one thing that a value may be besides null, and whether it may be null."""
    either = schema.get("anyOf") or schema.get("oneOf")
    if not isinstance(either, list):
        return schema, False
    kinds = [_resolved(kind, root) for kind in either]
    others = [kind for kind in kinds if kind.get("type") != "null"]
    if len(others) != 1:
        return schema, len(others) < len(kinds)
    beside = {key: value for key, value in schema.items() if key not in ("anyOf", "oneOf")}
    return {**others[0], **beside}, len(others) < len(kinds)


def _number_limits(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{low} to {high}"
    words = (
        ("minimum", "at least"),
        ("exclusiveMinimum", "above"),
        ("maximum", "at most"),
        ("exclusiveMaximum", "below"),
    )
    return ", ".join(f"{word} {schema[name]}" for name, word in words if schema.get(name) is not None)


def _span(low: Any, high: Any, one: str, many: str) -> str:
    """`at least 3 characters`, `at most 1 line`, `3 to 5 lines`; nothing without limits."""
    if low and high:
        return f"{low} to {high} {many}"
    if low:
        return f"at least {low} {one if low == 1 else many}"
    return f"at most {high} {one if high == 1 else many}" if high else ""
