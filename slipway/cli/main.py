"""The command `slipway`. What starts a job starts it through the admin service, as every other door does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from slipway.cli import access
from slipway.cli.progress import Progress, ending, run_line, succeeded, trend_lines
from slipway.client.http import AdminClient, admin_url, token_for
from slipway.core.errors import SlipwayError
from slipway.core.settings import Settings

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
app.add_typer(access.app, name="access")
Name = Annotated[str, typer.Argument(help="the change's folder below changes/")]
OnStaging = Annotated[bool, typer.Option("--staging", help="on the staging service that the service names")]
RunArgument = Annotated[str, typer.Argument(help="a run's id, as `slipway status` lists them")]
Why = Annotated[str, typer.Option(help="the reason; it stands in the record")]
ServiceArgument = Annotated[str, typer.Argument(help="a service of slipway.toml")]


def main() -> None:
    """Run the command; a SlipwayError is three plain lines and exit code 1, never a traceback."""
    try:
        app()
    except SlipwayError as error:
        safe = "yes" if error.retry_is_safe else "no, a person has to look first"
        typer.echo(f"failed:   {error.failed}\nexpected: {error.expected}\nretry is safe: {safe}", err=True)
        raise SystemExit(1) from None


@app.command()
def ship(name: Name, staging: OnStaging = False) -> None:
    """Ship a change: rehearse, migrate, purge, measure, judge; exits 0 only when it was kept."""
    _start("ship-change", {"change": name, "staging": staging})


@app.command()
def rehearse(name: Name) -> None:
    """Rehearse a change on a copy of the live database and touch nothing live; exits 0 when it could be shipped."""
    _start("rehearse-change", {"change": name})


@app.command()
def rollback(name: Name, staging: OnStaging = False) -> None:
    """Roll a shipped change back; repeating it finds nothing left to do."""
    _start("roll-back-change", {"change": name, "staging": staging})


@app.command()
def measure(
    service: ServiceArgument,
    history: Annotated[bool, typer.Option("--history", help="only show what the last 30 days were like")] = False,
) -> None:
    """Measure the routes that a service watches, or show their history."""
    if not history:
        _start("measure-service", {"service": service})
        return
    with _client() as client:
        for line in trend_lines(client.history(service)):
            typer.echo(line)


@app.command()
def audit(service: ServiceArgument) -> None:
    """Go through the checklist of a service; exits 0 only when nothing fails."""
    _start("audit-service", {"service": service})


@app.command()
def purge(
    service: ServiceArgument,
    routes: Annotated[list[str] | None, typer.Argument(help="routes such as /products/1")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="a surrogate key; may be given more than once")] = None,
) -> None:
    """Purge routes (and tags) from a service's cache and verify by reading."""
    _start("purge-routes", {"service": service, "routes": routes or [], "tags": tag or []})


@app.command()
def backfill(name: Annotated[str, typer.Argument(help="the backfill's folder below changes/")]) -> None:
    """Change the rows of a table in batches; after a cancel or a failure it goes on from where it was."""
    _start("backfill", {"change": name})


@app.command()
def pause(run: RunArgument, why: Why) -> None:
    """Pause a backfill behind its batch."""
    _say(run, "pause", why)


@app.command()
def resume(run: RunArgument, why: Why) -> None:
    """Let a paused backfill go on."""
    _say(run, "resume", why)


@app.command()
def status(run: Annotated[str | None, typer.Argument(help="a run's id; without it the newest runs")] = None) -> None:
    """Show one run, or the newest runs."""
    with _client() as client:
        if run is None:
            for line in client.runs(20):
                typer.echo(run_line(line))
            return
        found = client.run(run)
    Progress(typer.echo).show(found)
    _tell_end(found)


@app.command()
def approve(run: RunArgument, why: Why) -> None:
    """Approve a change that waits after its rehearsal."""
    _say(run, "approve", why)


@app.command()
def reject(run: RunArgument, why: Why) -> None:
    """Reject a change that waits after its rehearsal; nothing is changed."""
    _say(run, "reject", why)


@app.command()
def cancel(run: RunArgument, why: Why) -> None:
    """Cancel a run: before the migration it stops, after it it goes all the way back."""
    _say(run, "cancel", why)


@app.command()
def judge(
    before: Annotated[Path, typer.Argument(help="CSV or CSV.gz: due_s,route,latency_ms")],
    after: Annotated[Path, typer.Argument(help="the same, after the change")],
    target: Annotated[str, typer.Option(help="the route that the change may alter")],
    control: Annotated[str, typer.Option(help="the route that it cannot")],
    margin: Annotated[float, typer.Option(min=0.01, max=1.0)] = 0.10,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Judge two recordings by the rule that ship-change uses, so that anybody can check a verdict."""
    from slipway.config.change import Pair
    from slipway.measurement.bursts import RECORDED, cut
    from slipway.measurement.judge import judge as judge_windows
    from slipway.measurement.recordings import read_recording

    windows = [cut(read_recording(path), [target, control]) for path in (before, after)]
    pair = Pair(route=target, identity=RECORDED, control_route=control, control_identity=RECORDED)
    verdict = judge_windows(windows[0], windows[1], [pair], margin=margin)
    typer.echo(json.dumps(verdict.model_dump(), indent=2) if as_json else verdict.sentence)


@app.command()
def doctor() -> None:
    """Look at what a run needs: the configuration, the admin service, Prefect, and each service."""
    from slipway.cli.doctor import examine

    lines = examine(Settings.from_environment())
    for line in lines:
        typer.echo(f"{'ok  ' if line.ok else 'FAIL'}  {line.what}: {line.told}")
    raise typer.Exit(0 if all(line.ok for line in lines) else 1)


def _say(run: str, action: str, why: str) -> None:
    with _client() as client:
        told = client.say(run, action, why)
    typer.echo(f"{told['name']}: {told['state']['name']}")


def _start(job: str, parameters: dict[str, Any]) -> None:
    progress = Progress(typer.echo)
    with _client() as client:
        run = client.start(job, parameters)
        typer.echo(f"{run['name']}: run {run['id']}")
        for current in client.follow(run["id"]):
            progress.show(current)
            run = current
    _tell_end(run)
    raise typer.Exit(0 if succeeded(run) else 1)


def _tell_end(run: dict[str, Any]) -> None:
    for line in ending(run):
        typer.echo(line)
    if run["record"]:
        typer.echo(f"record: {run['record']['path']}")


def _client() -> AdminClient:
    settings = Settings.from_environment()
    url = admin_url(settings)
    return AdminClient(url, token_for(settings, url))
