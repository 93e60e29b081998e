"""In CI a test that needs a server, another client or the documents' commands may not be skipped.

Elsewhere such a skip is fine (an ordinary user cannot enter the second RabbitMQ's tree); in CI it
would hide that a promise was not checked, so there it is a failure that names the reason.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

NEVER_SKIPPED = ("broker", "interop", "commands", "postgresql")


def _in_ci() -> bool:
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def _fail(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = f"{report.nodeid}: may not be skipped in CI. {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turns the skip of a marked test into a failure."""
    report = yield
    expected = hasattr(report, "wasxfail")
    marked = any(item.get_closest_marker(name) for name in NEVER_SKIPPED)
    if _in_ci() and report.skipped and marked and not expected:
        _fail(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turns the skip of a whole module, whose tests' marks nobody sees, into a failure."""
    report = yield
    if _in_ci() and report.skipped:
        _fail(report)
    return report
