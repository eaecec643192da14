"""Alembic's entry for ingest."""

from services.ingest.models import metadata
from shared.migrations import run

run(metadata)
