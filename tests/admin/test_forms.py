"""Convert a JSON Schema into form fields, and read a submitted form back: pure."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, create_model

from slipway.admin.formatting import label, roughly, spoken
from slipway.admin.pages.form_fields import NO_VALUE, fields
from slipway.admin.pages.forms import read, unknown_names

Mode = Literal["quick", "thorough"]


def schema_of(annotation: Any, default: Any = ...) -> dict[str, Any]:
    """Return the schema of a job with one parameter `x`, as pydantic (and so Prefect) generates it."""
    return create_model("Parameters", x=(annotation, default)).model_json_schema()


def filled(annotation: Any, written: str, default: Any = ...) -> tuple[Any, str]:
    """Return the value of a text in the field (NO_VALUE if there is none) and its error message."""
    schema = schema_of(annotation, default)
    form = read(fields(schema), schema, {"p.x": [written]})
    return form.parameters.get("x", NO_VALUE), form.errors.get("x", "")


class Inner(BaseModel):
    """A parameter with fields of its own."""

    n: int


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        (str, "text"),
        (Annotated[str, Field(max_length=2000)], "long text"),
        (Annotated[str, Field(max_length=2000, pattern="^a")], "text"),
        (int, "whole number"),
        (float, "number"),
        (bool, "boolean"),
        (Mode, "choice"),
        (Literal["only"], "choice"),
        (list[str], "lines"),
        (list[int], "lines"),
        (list[Mode], "lines"),
        (int | None, "whole number"),
        (list[str] | None, "lines"),
        (Inner, "json"),
        (dict[str, int], "json"),
        (list[Inner], "json"),
        (int | str, "json"),
        (Any, "json"),
    ],
)
def test_each_kind_of_parameter_has_its_field(annotation: Any, kind: str) -> None:
    """A parameter that fits no other kind of field is written as JSON."""
    [field] = fields(schema_of(annotation))
    assert field.kind == kind


@pytest.mark.parametrize(
    ("annotation", "written", "value"),
    [
        (str, " shop ", "shop"),
        (Annotated[str, Field(max_length=2000)], "two\r\nlines\r\n", "two\nlines\n"),
        (int, "42", 42),
        (float, "1e-3", 0.001),
        (float, "7", 7),
        (bool, "false", False),
        (Mode, "thorough", "thorough"),
        (Literal[1, 2], "2", 2),
        (list[str], "/a\r\n\r\n  /b  ", ["/a", "/b"]),
        (list[int], "1\n2", [1, 2]),
        (int | None, "3", 3),
        (Inner, '{"n": 1}', {"n": 1}),
        (int | str, '"7"', "7"),
    ],
)
def test_values_have_the_type_of_the_parameter(annotation: Any, written: str, value: Any) -> None:
    """A number is read as a number, lines as a list, and JSON as its value."""
    parsed, error = filled(annotation, written)
    assert (parsed, type(parsed), error) == (value, type(value), "")


@pytest.mark.parametrize(
    ("annotation", "written", "message"),
    [
        (int, "4.5", "Enter a whole number, not “4.5”."),
        (int, "x" * 99, f"Enter a whole number, not “{'x' * 60}…”."),
        (float, "NaN", "Enter a number, not “NaN”."),
        (float, "inf", "Enter a number, not “inf”."),
        (bool, "maybe", "Enter true or false, not “maybe”."),
        (Mode, "slow", "Choose one of quick, thorough, not “slow”."),
        (Inner, "{", "Not valid JSON: Expecting property name enclosed in double quotes in line 1, column 2."),
        (Inner, "NaN", "JSON does not allow NaN."),
        (Inner, "[" * 100_000, "The JSON is nested too deeply."),
        (Inner, '{"n": "a"}', "n: 'a' is not of type 'integer'."),
        (Annotated[str, Field(min_length=3)], "ab", "At least 3 characters."),
        (Annotated[str, Field(pattern="^/")], "ab", "“ab” does not match the pattern ^/."),
        (Annotated[str, Field(pattern="^/")] | None, "ab", "“ab” does not match the pattern ^/."),
        (Annotated[int, Field(ge=1, le=9)], "10", "At most 9."),
        (Annotated[float, Field(gt=0)], "0", "Above 0."),
        (list[Annotated[str, Field(pattern="^/")]], "/a\nb", "Line 2: “b” does not match the pattern ^/."),
        (Annotated[list[str], Field(max_length=1)], "a\nb", "At most 1 lines."),
        (list[Mode], "quick\nslow", "Line 2: 'slow' is not one of ['quick', 'thorough']."),
        (str, "", "This field is required."),
    ],
)
def test_error_says_what_is_valid(annotation: Any, written: str, message: str) -> None:
    """Each error message says what would be valid, and in which line."""
    assert filled(annotation, written)[1] == message


@pytest.mark.parametrize(
    ("annotation", "default", "written"),
    [(int, 5, ""), (int | None, None, ""), (bool, True, "true"), (Mode, "quick", "quick"), (list[str], [], " \n ")],
)
def test_unchanged_fields_are_not_sent(annotation: Any, default: Any, written: str) -> None:
    """A field with its default value is not sent, so that the job's own default applies."""
    assert filled(annotation, written, default) == (NO_VALUE, "")


def test_cleared_checkbox_is_false() -> None:
    """The hidden field before a checkbox sends false; a ticked checkbox sends true after it."""
    schema = schema_of(bool, True)
    job_fields = fields(schema)
    assert read(job_fields, schema, {"p.x": ["false"]}).parameters == {"x": False}
    assert read(job_fields, schema, {"p.x": ["false", "true"]}).parameters == {}


def test_known_services_are_choices_and_changes_are_suggestions() -> None:
    """`service` is a choice of the known services, and `change` suggests the known changes; both only for text parameters."""
    schema = create_model("Parameters", service=(str, ...), change=(str, ...)).model_json_schema()
    service, change = fields(schema, services=["shop"], changes=["faster"])
    assert (service.kind, service.choices) == ("choice", ("shop",))
    assert (change.kind, change.suggestions) == ("text", ("faster",))
    [number] = fields(create_model("Parameters", service=(int, ...)).model_json_schema(), services=["shop"])
    assert number.kind == "whole number"


def test_references_are_resolved() -> None:
    """References to `definitions` and `$defs` are resolved. A reference to itself or to another document gives JSON."""
    schema = {
        "properties": {
            "a": {"allOf": [{"$ref": "#/definitions/Mode"}], "default": "quick", "description": "mine"},
            "b": {"$ref": "#/$defs/Self"},
            "c": {"$ref": "https://example.com/schema"},
        },
        "definitions": {"Mode": {"enum": ["quick"], "description": "theirs"}},
        "$defs": {"Self": {"$ref": "#/$defs/Self"}},
    }
    a, b, c = fields(schema)
    assert (a.kind, a.description, a.default) == ("choice", "mine", "quick")
    assert (b.kind, c.kind) == ("json", "json")


def test_limits_are_shown_as_text() -> None:
    """The limits of a parameter are formatted for the hint of its field."""
    cases = {
        "1 to 9": Annotated[int, Field(ge=1, le=9)],
        "above 0, at most 1": Annotated[float, Field(gt=0, le=1)],
        "at least 2 characters": Annotated[str, Field(min_length=2)],
        "1 to 5 lines": Annotated[list[str], Field(min_length=1, max_length=5)],
        "": str,
    }
    for limits, annotation in cases.items():
        assert fields(schema_of(annotation))[0].limits == limits


def test_unknown_names_are_reported() -> None:
    """A name that is neither a parameter of the job nor a field of the form is reported, so that it can be refused."""
    job_fields = fields(schema_of(str))
    assert unknown_names(job_fields, {"p.x": [], "key": [], "p.y": [], "job_variables": []}, ["key"]) == [
        "job_variables",
        "p.y",
    ]


def test_names_and_durations_are_formatted_for_the_pages() -> None:
    """States and parameters become words, and an estimated duration is rounded."""
    assert [spoken(name) for name in ("RollBackFailed", "Kept", "RUNNING", "a B")] == [
        "Roll back failed",
        "Kept",
        "Running",
        "a B",
    ]
    assert label("max_bad_rows") == "Max bad rows"
    assert [roughly(seconds) for seconds in (3, 44, 600, 7200)] == ["a few seconds", "40 s", "10 min", "2.0 h"]
    assert re.fullmatch(r"\w+", label("x"))
