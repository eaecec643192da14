"""What keeps the pure tests quick. Services configure logging when they start; so do these."""

import gc

import pytest

from shared import telemetry


@pytest.fixture(scope="session", autouse=True)
def logging_as_in_a_service() -> None:
    """The default logger draws every traceback with all its locals, three seconds for one of an ASGI application."""
    telemetry.configure("unit-tests")


def pytest_collection_finish() -> None:
    """Every collection of garbage would look through 200,000 objects of pytest and the imported modules: an eighth of the run."""
    gc.collect()
    gc.freeze()
