"""Write the record beside the change: the same text goes to the Prefect artifact and the admin service."""

from __future__ import annotations

import os
import re
from pathlib import Path

from slipway.config.plan import Plan
from slipway.core.errors import SlipwayError
from slipway.core.settings import Settings
from slipway.measurement.comparison_chart import before_after_svg
from slipway.shipping.outcomes import Record
from slipway.shipping.record import ShipReport, picture_name, record_name, render

LATER = "## Rolled back later: run "


def write_record(story: ShipReport, settings: Settings) -> Record:
    """Render the record and its picture and put both in the change's folder; a repeat writes the same again."""
    folder = settings.changes / story.plan.name
    markdown, picture = render(story), ""
    if story.verdict is not None and story.after is not None:
        picture = before_after_svg(story.before, story.after, story.verdict, story.watched)
        _replace(folder / picture_name(story.plan), picture)
    name = record_name(story.plan)
    _replace(folder / name, markdown)
    return Record(markdown=markdown, picture_svg=picture, path=f"changes/{story.plan.name}/{name}")


def append_to_record(plan: Plan, run_id: str, text: str, settings: Settings) -> Record:
    """Add what a later run did behind the record; a repeat by the same run replaces its own section."""
    name = record_name(plan)
    path = settings.changes / plan.name / name
    earlier = path.read_text(encoding="utf-8") if path.exists() else f"# {plan.name}\n"
    section = re.compile(rf"\n{re.escape(LATER + run_id)}\n.*?(?=\n{re.escape(LATER)}|\Z)", re.DOTALL)
    markdown = section.sub("", earlier).rstrip("\n") + f"\n\n{LATER}{run_id}\n\n{text.rstrip()}\n"
    _replace(path, markdown)
    return Record(markdown=markdown, path=f"changes/{plan.name}/{name}")


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all, also when the process dies."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise SlipwayError(
            f"{path.parent.name}/{path.name} could not be written: {error.strerror}.",
            expected="Room for it, and a folder that the worker may write to.",
            retry_is_safe=True,
        ) from None
