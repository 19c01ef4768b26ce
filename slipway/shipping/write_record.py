"""Write the record into the folder of the change. The Prefect artifact and the admin service show the same text."""

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


def write_record(report: ShipReport, settings: Settings) -> Record:
    """Render the record and its chart, and write both into the change's folder. A repeat writes the same files again."""
    folder = settings.changes / report.plan.name
    markdown, chart = render(report), ""
    if report.verdict is not None and report.after is not None:
        chart = before_after_svg(report.before, report.after, report.verdict, report.watched)
        _replace(folder / picture_name(report.plan), chart)
    name = record_name(report.plan)
    _replace(folder / name, markdown)
    return Record(markdown=markdown, picture_svg=chart, path=f"changes/{report.plan.name}/{name}")


def append_to_record(plan: Plan, run_id: str, text: str, settings: Settings) -> Record:
    """Append a section about a later run to the record. A repeat by the same run replaces its own section."""
    name = record_name(plan)
    path = settings.changes / plan.name / name
    earlier = path.read_text(encoding="utf-8") if path.exists() else f"# {plan.name}\n"
    section = re.compile(rf"\n{re.escape(LATER + run_id)}\n.*?(?=\n{re.escape(LATER)}|\Z)", re.DOTALL)
    markdown = section.sub("", earlier).rstrip("\n") + f"\n\n{LATER}{run_id}\n\n{text.rstrip()}\n"
    _replace(path, markdown)
    return Record(markdown=markdown, path=f"changes/{plan.name}/{name}")


def _replace(path: Path, text: str) -> None:
    """Replace a file atomically: after a crash the file has the old or the new content."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise SlipwayError(
            f"Could not write {path.parent.name}/{path.name}: {error.strerror}.",
            expected="The disk has free space, and the worker may write to the folder.",
            retry_is_safe=True,
        ) from None
