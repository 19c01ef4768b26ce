"""Strict validation of prefect.yaml. Prefect ignores unknown keys, so a typo would go unnoticed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from slipway.core.errors import InvalidInput
from slipway.core.toml_files import parse

FILE = Path(__file__).resolve().parent.parent / "prefect.yaml"  # in a checkout and in an installed package


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WorkPool(_Strict):
    """The work pool that executes a job's runs. Job variables are not allowed: they can execute code."""

    name: str


class Schedule(_Strict):
    """A cron schedule of a job."""

    cron: str
    timezone: str
    slug: str
    active: bool = True
    parameters: dict[str, Any] = {}


class Job(_Strict):
    """One deployment. Its description comes from its flow."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
    entrypoint: Annotated[str, Field(pattern=r"^slipway\.flows\.[a-z_]+\.[a-z_]+$")]
    tags: list[str]
    work_pool: WorkPool
    schedules: list[Schedule] = []


class CurrentDirectory(_Strict):
    """The current directory: never a path of one machine."""

    directory: Literal["."]


class JobsFile(_Strict):
    """The file. `pull` only sets the working directory: a run fetches nothing and imports its flow from the package."""

    name: str
    pull: Annotated[
        list[dict[Literal["prefect.deployments.steps.set_working_directory"], CurrentDirectory]],
        Field(min_length=1, max_length=1),
    ]
    deployments: list[Job]

    @model_validator(mode="after")
    def _unique(self) -> JobsFile:
        names = [job.name for job in self.deployments]
        if len(set(names)) != len(names):
            raise ValueError("deployments: names must be unique")
        return self


def read_jobs(path: Path) -> JobsFile:
    """Read and validate prefect.yaml. Raises InvalidInput that names every invalid key."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InvalidInput(f"Could not read {path.name}: {error}.", expected="A readable YAML file.") from None
    return parse(JobsFile, document, where=path.name)
