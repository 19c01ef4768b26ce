"""The tables of Slipway's own store."""

from __future__ import annotations

from sqlalchemy import Column as Col
from sqlalchemy import DateTime, Float, Index, Integer, MetaData, String, Table, func
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData()

measurements = Table(
    "measurement",
    metadata,
    Col("run_id", String, primary_key=True),
    Col("route", String, primary_key=True),
    Col("identity", String, primary_key=True),
    Col("cache", String, primary_key=True),
    Col("service", String, nullable=False),
    Col("at", DateTime(timezone=True), nullable=False),
    Col("samples", Integer, nullable=False),
    Col("errors", Integer, nullable=False),
    Col("median_ms", Float),
    Col("p90_ms", Float),
    Index("ix_measurement_service_at", "service", "at"),
)

holds = Table(
    "hold",
    metadata,
    Col("service", String, primary_key=True),
    Col("run_id", String, nullable=False),
    Col("change", String, nullable=False),
    Col("since", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

outcomes = Table(
    "outcome",
    metadata,
    Col("run_id", String, primary_key=True),
    Col("step", String, primary_key=True),
    Col("kind", String, nullable=False),
    Col("body", JSONB, nullable=False),
    Col("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

pauses = Table(
    "pause",
    metadata,
    Col("run_id", String, primary_key=True),
    Col("by", String, nullable=False),
    Col("since", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

disabled_jobs = Table(
    "disabled_job",
    metadata,
    Col("job", String, primary_key=True),
    Col("by", String, nullable=False),
    Col("why", String, nullable=False),
    Col("since", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

attempts = Table(
    "attempt",
    metadata,
    Col("run_id", String, primary_key=True),
    Col("number", Integer, nullable=False, server_default="0"),
    Col("token", String, nullable=False, server_default=""),
    Col("resumes", Integer, nullable=False, server_default="0"),
    Col("crash", String, nullable=False, server_default=""),
    Col("cancelled_by", String, nullable=False, server_default=""),
    Col("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

polls = Table(
    "look",
    metadata,
    Col("what", String, primary_key=True),
    Col("at", DateTime(timezone=True), nullable=False),
)

shipments = Table(
    "shipment",
    metadata,
    Col("run_id", String, primary_key=True),
    Col("service", String, nullable=False),
    Col("change", String, nullable=False),
    Col("digest", String, nullable=False),
    Col("sql_digest", String, nullable=False),
    Col("commands", JSONB, nullable=False),
    Col("came_of_it", String, nullable=False),
    Col("at", DateTime(timezone=True), nullable=False),
    Index("ix_shipment_service_change", "service", "change"),
)

audits = Table(
    "audit",
    metadata,
    Col("run_id", String, primary_key=True),
    Col("service", String, nullable=False),
    Col("body", JSONB, nullable=False),
    Col("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Index("ix_audit_service_at", "service", "at"),
)
