"""A JSON Schema as a form, and what was filled in read back: pure."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, create_model

from slipway.admin.formatting import label, roughly, spoken
from slipway.admin.pages.form_fields import UNKNOWN, fields
from slipway.admin.pages.forms import read, unknown

Mode = Literal["quick", "thorough"]


def schema_of(annotation: Any, default: Any = ...) -> dict[str, Any]:
    """The schema of a job with one parameter `x`, as pydantic, and so Prefect, writes it."""
    return create_model("Parameters", x=(annotation, default)).model_json_schema()


def filled(annotation: Any, written: str, default: Any = ...) -> tuple[Any, str]:
    """What a text in the field becomes, UNKNOWN for nothing, and what is wrong with it."""
    schema = schema_of(annotation, default)
    found = read(fields(schema), schema, {"p.x": [written]})
    return found.parameters.get("x", UNKNOWN), found.errors.get("x", "")


class Inner(BaseModel):
    """A parameter of several parts."""

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
    """What cannot be drawn as a field of its own is written as JSON."""
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
def test_values_come_back_typed(annotation: Any, written: str, value: Any) -> None:
    """A number is a number, lines are a list, and JSON is what it says."""
    found, error = filled(annotation, written)
    assert (found, type(found), error) == (value, type(value), "")


@pytest.mark.parametrize(
    ("annotation", "written", "words"),
    [
        (int, "4.5", "A whole number, not “4.5”."),
        (int, "x" * 99, f"A whole number, not “{'x' * 60}…”."),
        (float, "NaN", "A number, not “NaN”."),
        (float, "inf", "A number, not “inf”."),
        (bool, "maybe", "Yes or no, not “maybe”."),
        (Mode, "slow", "One of quick, thorough, not “slow”."),
        (Inner, "{", "This is no JSON: Expecting property name enclosed in double quotes in line 1, column 2."),
        (Inner, "NaN", "JSON knows no NaN."),
        (Inner, "[" * 100_000, "This is nested too deeply."),
        (Inner, '{"n": "a"}', "n: 'a' is not of type 'integer'."),
        (Annotated[str, Field(min_length=3)], "ab", "At least 3 characters."),
        (Annotated[str, Field(pattern="^/")], "ab", "“ab” does not have the form ^/."),
        (Annotated[str, Field(pattern="^/")] | None, "ab", "“ab” does not have the form ^/."),
        (Annotated[int, Field(ge=1, le=9)], "10", "At most 9."),
        (Annotated[float, Field(gt=0)], "0", "Above 0."),
        (list[Annotated[str, Field(pattern="^/")]], "/a\nb", "Line 2: “b” does not have the form ^/."),
        (Annotated[list[str], Field(max_length=1)], "a\nb", "At most 1 lines."),
        (list[Mode], "quick\nslow", "Line 2: 'slow' is not one of ['quick', 'thorough']."),
        (str, "", "This is needed."),
    ],
)
def test_faults_are_told_in_words(annotation: Any, written: str, words: str) -> None:
    """Each says what would be right, and where."""
    assert filled(annotation, written)[1] == words


@pytest.mark.parametrize(
    ("annotation", "default", "written"),
    [(int, 5, ""), (int | None, None, ""), (bool, True, "true"), (Mode, "quick", "quick"), (list[str], [], " \n ")],
)
def test_only_what_was_filled_in_is_sent(annotation: Any, default: Any, written: str) -> None:
    """A field that was left as it was leaves the job's own default to the job."""
    assert filled(annotation, written, default) == (UNKNOWN, "")


def test_a_box_that_is_cleared_is_a_no() -> None:
    """The hidden field before a checkbox says no; the checkbox behind it, when it is ticked, yes."""
    schema = schema_of(bool, True)
    known = fields(schema)
    assert read(known, schema, {"p.x": ["false"]}).parameters == {"x": False}
    assert read(known, schema, {"p.x": ["false", "true"]}).parameters == {}


def test_what_slipway_knows_is_picked() -> None:
    """A service is chosen from those that there are, a change is suggested; both only where the parameter is a text."""
    schema = create_model("Parameters", service=(str, ...), change=(str, ...)).model_json_schema()
    service, change = fields(schema, services=["shop"], changes=["faster"])
    assert (service.kind, service.choices) == ("choice", ("shop",))
    assert (change.kind, change.suggestions) == ("text", ("faster",))
    [number] = fields(create_model("Parameters", service=(int, ...)).model_json_schema(), services=["shop"])
    assert number.kind == "whole number"


def test_references_are_followed_and_end() -> None:
    """Definitions are read in the old place and the new one; one that names itself, or leads elsewhere, is JSON."""
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


def test_limits_in_words() -> None:
    """They stand beside the field before anybody breaks them."""
    cases = {
        "1 to 9": Annotated[int, Field(ge=1, le=9)],
        "above 0, at most 1": Annotated[float, Field(gt=0, le=1)],
        "at least 2 characters": Annotated[str, Field(min_length=2)],
        "1 to 5 lines": Annotated[list[str], Field(min_length=1, max_length=5)],
        "": str,
    }
    for words, annotation in cases.items():
        assert fields(schema_of(annotation))[0].limits == words


def test_strangers_are_named() -> None:
    """Neither a parameter of the job nor a field of the form: it is named, so that it can be refused."""
    known = fields(schema_of(str))
    assert unknown(known, {"p.x": [], "key": [], "p.y": [], "job_variables": []}, ["key"]) == ["job_variables", "p.y"]


def test_words_of_the_pages() -> None:
    """States are spoken as words, parameters are labels, and a guess is not more precise than it is."""
    assert [spoken(name) for name in ("RollBackFailed", "Kept", "RUNNING", "a B")] == [
        "Roll back failed",
        "Kept",
        "Running",
        "a B",
    ]
    assert label("max_bad_rows") == "Max bad rows"
    assert [roughly(seconds) for seconds in (3, 44, 600, 7200)] == ["a few seconds", "40 s", "10 min", "2.0 h"]
    assert re.fullmatch(r"\w+", label("x"))
