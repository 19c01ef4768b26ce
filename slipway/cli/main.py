"""The command `slipway`. Commands that start a job send the request to the admin service, as all other entry points do."""

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
Name = Annotated[str, typer.Argument(help="the change's folder in changes/")]
OnStaging = Annotated[bool, typer.Option("--staging", help="run on the staging service of the service")]
RunArgument = Annotated[str, typer.Argument(help="a run's id from `slipway status`")]
Reason = Annotated[str, typer.Option(help="the reason; it is saved in the record")]
ServiceArgument = Annotated[str, typer.Argument(help="a service in slipway.toml")]


def main() -> None:
    """Run the command. A `SlipwayError` prints three lines and exits with 1, without a traceback."""
    try:
        app()
    except SlipwayError as error:
        safe = "yes" if error.retry_is_safe else "no, a person must check first"
        typer.echo(f"failed:   {error.failed}\nexpected: {error.expected}\nretry is safe: {safe}", err=True)
        raise SystemExit(1) from None


@app.command()
def ship(name: Name, staging: OnStaging = False) -> None:
    """Ship a change: rehearse, migrate, purge, measure and judge. Exits with 0 only if the change is kept."""
    _start("ship-change", {"change": name, "staging": staging})


@app.command()
def rehearse(name: Name) -> None:
    """Rehearse a change on a copy of the live database and change nothing live. Exits with 0 if it can be shipped."""
    _start("rehearse-change", {"change": name})


@app.command()
def rollback(name: Name, staging: OnStaging = False) -> None:
    """Roll back a shipped change. Repeating the command has no effect."""
    _start("roll-back-change", {"change": name, "staging": staging})


@app.command()
def measure(
    service: ServiceArgument,
    history: Annotated[bool, typer.Option("--history", help="only show the last 30 days")] = False,
) -> None:
    """Measure the watched routes of a service, or show their history."""
    if not history:
        _start("measure-service", {"service": service})
        return
    with _client() as client:
        for line in trend_lines(client.history(service)):
            typer.echo(line)


@app.command()
def audit(service: ServiceArgument) -> None:
    """Audit a service against its checklist. Exits with 0 only if no item fails."""
    _start("audit-service", {"service": service})


@app.command()
def purge(
    service: ServiceArgument,
    routes: Annotated[list[str] | None, typer.Argument(help="routes such as /products/1")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="a surrogate key; can be repeated")] = None,
) -> None:
    """Purge routes and tags from a service's cache, and read the routes to verify the purge."""
    _start("purge-routes", {"service": service, "routes": routes or [], "tags": tag or []})


@app.command()
def backfill(name: Annotated[str, typer.Argument(help="the backfill's folder in changes/")]) -> None:
    """Change the rows of a table in batches. After a cancel or a failure, continue from the last batch."""
    _start("backfill", {"change": name})


@app.command()
def pause(run: RunArgument, why: Reason) -> None:
    """Pause a backfill after its current batch."""
    _send_action(run, "pause", why)


@app.command()
def resume(run: RunArgument, why: Reason) -> None:
    """Resume a paused backfill."""
    _send_action(run, "resume", why)


@app.command()
def status(
    run: Annotated[str | None, typer.Argument(help="a run's id; without it, list the newest runs")] = None,
) -> None:
    """Show one run, or list the newest runs."""
    with _client() as client:
        if run is None:
            for entry in client.runs(20):
                typer.echo(run_line(entry))
            return
        document = client.run(run)
    Progress(typer.echo).show(document)
    _print_ending(document)


@app.command()
def approve(run: RunArgument, why: Reason) -> None:
    """Approve a change that waits for approval after its rehearsal."""
    _send_action(run, "approve", why)


@app.command()
def reject(run: RunArgument, why: Reason) -> None:
    """Reject a change that waits for approval after its rehearsal. Nothing is changed."""
    _send_action(run, "reject", why)


@app.command()
def cancel(run: RunArgument, why: Reason) -> None:
    """Cancel a run. Before the migration it stops; after the migration it rolls everything back."""
    _send_action(run, "cancel", why)


@app.command()
def judge(
    before: Annotated[
        Path, typer.Argument(help="recording before the change, as CSV or CSV.gz: due_s,route,latency_ms")
    ],
    after: Annotated[Path, typer.Argument(help="the same format, recorded after the change")],
    target: Annotated[str, typer.Option(help="the route that the change may alter")],
    control: Annotated[str, typer.Option(help="the control route, which the change cannot alter")],
    margin: Annotated[float, typer.Option(min=0.01, max=1.0)] = 0.10,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Judge two recordings by the rule of ship-change, so that anyone can check a verdict."""
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
    """Check what a run needs: the configuration, the admin service, Prefect, and each service."""
    from slipway.cli.doctor import examine

    checks = examine(Settings.from_environment())
    for check in checks:
        typer.echo(f"{'ok  ' if check.ok else 'FAIL'}  {check.name}: {check.detail}")
    raise typer.Exit(0 if all(check.ok for check in checks) else 1)


def _send_action(run: str, action: str, why: str) -> None:
    with _client() as client:
        document = client.act(run, action, why)
    typer.echo(f"{document['name']}: {document['state']['name']}")


def _start(job: str, parameters: dict[str, Any]) -> None:
    progress = Progress(typer.echo)
    with _client() as client:
        run = client.start(job, parameters)
        typer.echo(f"{run['name']}: run {run['id']}")
        for current in client.follow(run["id"]):
            progress.show(current)
            run = current
    _print_ending(run)
    raise typer.Exit(0 if succeeded(run) else 1)


def _print_ending(run: dict[str, Any]) -> None:
    for line in ending(run):
        typer.echo(line)
    if run["record"]:
        typer.echo(f"record: {run['record']['path']}")


def _client() -> AdminClient:
    settings = Settings.from_environment()
    url = admin_url(settings)
    return AdminClient(url, token_for(settings, url))
