"""HTTP: translate only."""

from fastapi import Request

from shared.db import Database


def database(request: Request) -> Database:
    """The database of the running application."""
    opened: Database = request.app.state.database
    return opened
