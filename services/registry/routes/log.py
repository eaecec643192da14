"""The registry's log over HTTP."""

from services.registry.routes import database
from shared.contracts.registry import TOPIC
from shared.log_api import log_router

router = log_router(TOPIC, writing=database, reading=database)
