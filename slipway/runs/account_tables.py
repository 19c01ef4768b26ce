"""The tables of accounts, links, sessions, tokens, failed sign-ins, and the append-only access log."""

from __future__ import annotations

from sqlalchemy import DDL, BigInteger, DateTime, Identity, Integer, String, Table, event, func
from sqlalchemy import Column as Col
from sqlalchemy.dialects.postgresql import ARRAY

from slipway.runs.tables import metadata

accounts = Table(
    "account",
    metadata,
    Col("name", String, primary_key=True),
    Col("role", String, nullable=False),
    Col("services", ARRAY(String)),  # null: all
    Col("password", String),  # an Argon2id hash; null until the user sets a password
    Col("disabled_at", DateTime(timezone=True)),
    Col("made_at", DateTime(timezone=True), nullable=False),
    Col("made_by", String, nullable=False),
)

links = Table(
    "access_link",
    metadata,
    Col("digest", String, primary_key=True),
    Col("account", String, nullable=False, index=True),
    Col("expires_at", DateTime(timezone=True), nullable=False),
    Col("used_at", DateTime(timezone=True)),
)

sessions = Table(
    "access_session",
    metadata,
    Col("digest", String, primary_key=True),
    Col("account", String, nullable=False, index=True),
    Col("began_at", DateTime(timezone=True), nullable=False),
    Col("seen_at", DateTime(timezone=True), nullable=False),
)

tokens = Table(
    "access_token",
    metadata,
    Col("name", String, primary_key=True),
    Col("digest", String, nullable=False, unique=True),
    Col("role", String, nullable=False),
    Col("services", ARRAY(String)),  # null: all
    Col("account", String, index=True),
    Col("made_at", DateTime(timezone=True), nullable=False),
    Col("expires_at", DateTime(timezone=True), nullable=False),
    Col("last_used_at", DateTime(timezone=True)),
    Col("revoked_at", DateTime(timezone=True)),
)

failed_sign_ins = Table(
    "sign_in_try",
    metadata,
    Col("key", String, primary_key=True),
    Col("failures", Integer, nullable=False, server_default="0"),
    Col("at", DateTime(timezone=True), nullable=False),
)

ACTS = ("who", "how", "address", "what", "on")  # the columns that are known before the outcome of an action


def _acts() -> list[Col[str]]:
    return [Col(name, String, nullable=False) for name in ACTS]


log = Table(
    "access_log",
    metadata,
    Col("id", BigInteger, Identity(always=True), primary_key=True),
    Col("at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    *_acts(),
    Col("outcome", String, nullable=False),
)

started = Table(  # actions that have started and have no outcome yet
    "access_begun",
    metadata,
    Col("id", String, primary_key=True),
    Col("at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    *_acts(),
)

_REFUSE = """
CREATE OR REPLACE FUNCTION access_log_only_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the access log only grows'; END $$
"""
_TRIGGER = """
CREATE TRIGGER access_log_only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON access_log
FOR EACH STATEMENT EXECUTE FUNCTION access_log_only_grows()
"""
event.listen(log, "after_create", DDL(_REFUSE))  # type: ignore[no-untyped-call]
event.listen(log, "after_create", DDL(_TRIGGER))  # type: ignore[no-untyped-call]
