"""Realistic sample runs for the browser tests: shipping, waiting, kept, frozen, a backfill, an audit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.admin.made_up import CHANGE, MadeUp

NOW = datetime.now(UTC).replace(microsecond=0)
ROOT = Path(__file__).parents[2]
STEPS = {
    "validate": 1.9,
    "hold the service": 0.1,
    "inspect headers": 0.6,
    "measure before": 16.4,
    "rehearse": 22.7,
    "migrate": 1.8,
    "purge and verify after the migration": 3.2,
    "measure after": 16.3,
    "judge once": 0.3,
    "decide": 0.1,
    "record": 0.9,
    "release the service": 0.1,
}
BY_IDS = {
    name: str(UUID(int=number))
    for number, name in enumerate(("shipping", "waits", "kept", "frozen", "rows", "audit"), 1)
}
RECORD = (ROOT / "docs" / "reference" / "example-record.md").read_text(encoding="utf-8")
PICTURE = (ROOT / "docs" / "reference" / "before-after.svg").read_text(encoding="utf-8")
WINDOW = {
    "step": "measure before",
    "remarks": ["Warmed up for 7.6 s."],
    "routes": [
        {"target": {"route": "/orders", "identity": "customer"}, "cache": "pass", "samples": 500, "median_ms": 4.51},
        {"target": {"route": "/products/1", "identity": "customer"}, "cache": "hit", "samples": 500, "median_ms": 0.62},
    ],
}
AUDIT = {
    "items": [
        {
            "code": "content-security-policy",
            "result": "fail",
            "new": True,
            "summary": "2 of 6 pages send no Content-Security-Policy.",
            "evidence": ["/account as customer", "/orders as customer"],
            "mend": "Send one on every page that is HTML.",
        },
        {
            "code": "cookie-flags",
            "result": "pass",
            "new": False,
            "summary": "Every cookie is HttpOnly.",
            "evidence": [],
            "mend": "",
        },
    ]
}


def run(name: str, job: str, kind: str, state: str, message: str, done: int, **more: Any) -> dict[str, Any]:
    """Return a run that has finished the first `done` steps and started 40 s ago, or 20 h ago if it has ended."""
    over = kind in ("COMPLETED", "FAILED", "CANCELLED")
    began = NOW - (timedelta(hours=20) if over else timedelta(seconds=40))
    steps = [
        {
            "name": step,
            "state": {"type": "COMPLETED", "name": "Completed", "message": ""},
            "started": began.isoformat(),
            "seconds": seconds,
        }
        for step, seconds in list(STEPS.items())[:done]
    ]
    document: dict[str, Any] = {
        "id": BY_IDS[name],
        "name": f"{job} {CHANGE}",
        "job": job,
        "parameters": {"change": CHANGE, "staging": False},
        "service": "shop",
        "change": CHANGE,
        "asked_by": "grace",
        "state": {"type": kind, "name": state, "message": message},
        "created": began.isoformat(),
        "planned": None,
        "started": began.isoformat(),
        "ended": (began + timedelta(seconds=64)).isoformat() if over else None,
        "steps": steps,
        "leaving": None,
        "findings": [],
        "measurements": [],
        "rehearsal": None,
        "backfill": None,
        "audit": None,
        "verdict": None,
        "decision": None,
        "failures": [],
        "record": None,
        "missing": [],
        "progress": None,
    }
    return {**document, **more}


def lively(folder: Path) -> MadeUp:
    """Return the sample admin services with one run of each kind."""
    container = MadeUp(folder)
    running = {"name": "rehearse", "state": {"type": "RUNNING", "name": "Running", "message": ""}, "seconds": None}
    shipping = run("shipping", "ship-change", "RUNNING", "Running", "", 4)
    shipping["steps"].append({**running, "started": (NOW - timedelta(seconds=9)).isoformat()})
    shipping["findings"] = [
        {"level": "warning", "summary": "/orders sends no Vary: Cookie.", "explanation": "A cache may mix people up."},
        {"level": "info", "summary": "/account is not cached.", "explanation": "It says no-store."},
    ]
    shipping["leaving"] = {"routes": ["/orders"], "tags": [], "tagged": []}
    shipping["measurements"] = [WINDOW]
    verdict = {
        "verdict": "improved",
        "sentence": "/orders as customer: median 4.5 → 1.2 ms, 0.27× (0.25–0.29 at 95 %).",
    }
    outcomes = {"record": {"markdown": RECORD, "picture_svg": PICTURE, "path": "record.md"}, "verdict": verdict}
    keep = {"word": "keep", "reason": "The verdict is improved, and improved was required."}
    rows = {
        "total": 200_000,
        "total_is_exact": True,
        "rows_passed": 124_000,
        "rows_skipped": 3,
        "eta_s": 130.0,
        "held_because": "",
    }
    container.sample = shipping
    container.others = [
        run("waits", "ship-change", "PAUSED", "Suspended", "Paused by a request for input", 5, change="drop-old-index"),
        run(
            "kept",
            "ship-change",
            "COMPLETED",
            "Kept",
            keep["reason"],
            12,
            decision=keep,
            measurements=[WINDOW],
            **outcomes,
        ),
        run(
            "frozen",
            "ship-change",
            "FAILED",
            "Frozen",
            "The verdict is inconclusive: 3 of 20 bursts were lost.",
            11,
            change="new-prices",
            decision={"word": "freeze", "reason": "The verdict is inconclusive: a person decides."},
        ),
        run("rows", "backfill", "RUNNING", "Running", "", 1, change="normalise-emails", backfill=rows),
        run("audit", "audit-service", "FAILED", "ItemsFailed", "1 fail (1 new), 18 pass", 1, change=None, audit=AUDIT),
    ]
    container.others[3]["steps"] = [{**running, "name": "backfill", "started": NOW.isoformat()}]
    container.lines = [
        {"at": NOW.isoformat(), "level": 20, "message": f"measured {n} of 20 bursts"} for n in range(1, 9)
    ]
    return container
