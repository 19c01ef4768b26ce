"""prefect.yaml as Slipway uses it. Prefect ignores a key that it does not know, so a typo would be silent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from slipway.core.errors import InvalidInput
from slipway.core.toml_files import parse

FILE = Path(__file__).resolve().parent.parent / "prefect.yaml"  # in a checkout as in an installed package


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WorkPool(_Strict):
    """Where a job's runs are executed. Job variables are not for us: they mean code execution."""

    name: str


class Schedule(_Strict):
    """When a job runs by itself."""

    cron: str
    timezone: str
    slug: str
    active: bool = True
    parameters: dict[str, Any] = {}


class Job(_Strict):
    """One deployment. Its description is its flow's card."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
    entrypoint: Annotated[str, Field(pattern=r"^slipway\.flows\.[a-z_]+\.[a-z_]+$")]
    tags: list[str]
    work_pool: WorkPool
    schedules: list[Schedule] = []


class Here(_Strict):
    """A place that is no path of any machine."""

    directory: Literal["."]


class JobsFile(_Strict):
    """The file. A run fetches nothing before it starts (`pull` stays where it is): its flow is imported from the package."""

    name: str
    pull: Annotated[
        list[dict[Literal["prefect.deployments.steps.set_working_directory"], Here]], Field(min_length=1, max_length=1)
    ]
    deployments: list[Job]

    @model_validator(mode="after")
    def _unique(self) -> JobsFile:
        names = [job.name for job in self.deployments]
        if len(set(names)) != len(names):
            raise ValueError("deployments: each name once")
        return self


def read_jobs(path: Path) -> JobsFile:
    """The jobs of prefect.yaml. Raises InvalidInput that names every key at fault."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InvalidInput(f"{path.name} cannot be read: {error}.", expected="A YAML file.") from None
    return parse(JobsFile, document, where=path.name)
