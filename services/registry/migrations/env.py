"""Alembic's entry for the registry."""

from services.registry.models import metadata
from shared.migrations import run

run(metadata)
