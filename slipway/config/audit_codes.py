"""The codes of the audit items, with which a change or a service entry refers to them."""

from __future__ import annotations

from typing import Literal

AuditCode = Literal[
    "header-lint",
    "cookie-storable",
    "personal-pages",
    "vary",
    "targeted-cache-control",
    "surrogate-control",
    "content-security-policy",
    "content-type-options",
    "referrer-policy",
    "frame-protection",
    "transport-security",
    "cookie-secure",
    "cookie-flags",
    "error-page",
    "leak-probe",
    "upload-limit",
    "database-role",
    "configuration-secrets",
    "logging",
]
