"""prefect.yaml: every job can be loaded as Prefect loads it, and every typo is an error."""

from pathlib import Path

import pytest
from prefect import Flow
from prefect.flows import load_flow_from_entrypoint

from slipway.core.errors import InvalidInput
from slipway.deployments.jobs_file import JobsFile, read_jobs

FILE = Path(__file__).parents[2] / "prefect.yaml"


@pytest.fixture(scope="module")
def jobs() -> JobsFile:
    """Return the parsed file of this project."""
    return read_jobs(FILE)


def test_the_file_has_all_jobs(jobs: JobsFile) -> None:
    """The file has all jobs, each with the tag for the admin service. The measurement and the audit have schedules."""
    assert [job.name for job in jobs.deployments] == [
        "ship-change",
        "rehearse-change",
        "roll-back-change",
        "measure-service",
        "audit-service",
        "purge-routes",
        "backfill",
    ]
    assert all("job" in job.tags for job in jobs.deployments)
    assert [job.name for job in jobs.deployments if job.schedules] == ["measure-service", "audit-service"]


def test_every_entry_point_is_a_flow_with_a_card(jobs: JobsFile) -> None:
    """Each entry point is a flow with the job's name and a card as its description."""
    for job in jobs.deployments:
        flow = load_flow_from_entrypoint(job.entrypoint)
        assert isinstance(flow, Flow)
        assert flow.name == job.name
        for word in ("**Owner:**", "**Expected:**", "**Rollback:**"):
            assert word in flow.description


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("work_pool:", "workpool:", "deployments.0.workpool: unknown key"),
        ("cron:", "corn:", "deployments.3.schedules.0.corn: unknown key"),
        ("tags: [job]", "tags: [job]\n    job_variables: {command: id}", "deployments.1.job_variables: unknown key"),
        (
            "slipway.flows.ship_change.ship_change",
            "flows/ship_change.py:ship_change",
            "deployments.0.entrypoint: string should",
        ),
        ("directory: .", "directory: /srv/slipway", "pull.0"),
        (
            "pull:\n  - prefect.deployments.steps.set_working_directory: { directory: . }",
            "pull: []",
            "pull: list should",
        ),
        ("name: purge-routes", "name: ship-change", "names must be unique"),
        ("deployments:", "deployments: [", "Could not read"),
    ],
)
def test_a_typo_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    """An unknown key, a path as entry point, a repeated name and broken YAML are errors that name their position."""
    text = FILE.read_text(encoding="utf-8")
    assert old in text
    broken = tmp_path / "prefect.yaml"
    broken.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InvalidInput) as error:
        read_jobs(broken)
    assert message in error.value.failed
