"""The server's log: one line of JSON for each request and each thing that happens to a model.

Knows what is told: ids, routes, statuses, times. Never a picture, a question, an address that was fetched, or a key.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

from deixis.service.gate import Passed
from deixis.service.metrics import ROUTES

log = logging.getLogger("deixis.requests")


class JsonLines(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        row: dict[str, Any] = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "room": record.name,
            "text": record.getMessage(),
            **getattr(record, "told", {}),
        }
        if record.exc_info:
            row["trace"] = self.formatException(record.exc_info)
        return json.dumps(row, ensure_ascii=False)


def set_up_logs(level: str) -> None:
    """Everything of this house and its server to stderr, as lines of JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in ("deixis", "uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(level.upper() if name == "deixis" else "WARNING")


def log_request(passed: Passed) -> None:
    """One request has ended. Its path is told only where it is a route: what is asked for elsewhere may be anything."""
    route = next((known for known in ROUTES if passed.path.startswith(known)), "other")
    told = {
        "request": passed.id,
        "caller": passed.caller,
        "method": passed.method if passed.method.isalpha() else "other",
        "route": route,
        "status": passed.status,
        "end": passed.end,
        "error": passed.error,
        "ms": round((time.monotonic() - passed.began) * 1000, 1),
    }
    level = logging.DEBUG if route in ("/health", "/metrics") else logging.INFO
    log.log(level, "request", extra={"told": told})
