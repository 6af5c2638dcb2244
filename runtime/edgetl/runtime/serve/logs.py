"""Logs for programs: one JSON object a line on stderr."""

import logging
import sys
from datetime import datetime, timezone

import msgspec


class JsonLines(logging.Formatter):
    """`time` (UTC), `level`, `event`, what the call added as `facts`, and an exception's traceback."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
        line = {"time": when, "level": record.levelname.lower(), "event": record.getMessage()}
        line |= getattr(record, "facts", {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def log_as_json() -> None:
    """Sends what any library or Python warns of there, and what the server does; called once, by who serves."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.captureWarnings(True)
    logging.getLogger().handlers = [handler]
    for name in ("edgetl.serve", "uvicorn"):
        logging.getLogger(name).setLevel(logging.INFO)
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # the client is told what is wrong with its form
