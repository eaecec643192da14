"""Prints what the fault tests have measured, also when they pass."""

import pytest

from tests.faults.harness import FIGURES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FIGURES:
        terminalreporter.section("faults survived")
    for figure in FIGURES:
        terminalreporter.write_line(figure)
