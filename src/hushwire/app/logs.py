"""Logs: an event name and fields, as JSON lines or for people. No exception text, no library's own words about a peer."""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

Form = Literal["console", "json"]
LIBRARY: Final = "library.message"
_LEVELS: Final = {"warn": "warning", "exception": "error"}


def chosen(form: Literal["auto", "console", "json"], stream: TextIO | None = None) -> Form:
    """`auto` is for people on a terminal and JSON elsewhere."""
    if form != "auto":
        return form
    return "console" if (stream or sys.stderr).isatty() else "json"


def configure(form: Form, role: str, *, level: int = logging.INFO) -> None:
    """Send structlog and the standard library's logging to stderr, each line with the role that wrote it."""

    def name_role(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("role", role)
        return event

    def line(_logger: WrappedLogger, method: str, event: EventDict) -> str:
        """All of it in one go: a call writes three lines."""
        event.setdefault("role", role)
        event["level"] = _LEVELS.get(method, method)
        event["timestamp"] = datetime.now(UTC)
        if "exc_info" in event:
            event = safe_exception(_logger, method, event)
        try:
            return orjson.dumps(event, default=repr, option=orjson.OPT_UTC_Z).decode()
        except TypeError:  # a surrogate, or a number of more than 64 bits
            return json.dumps(event, default=lambda value: _time(value) if isinstance(value, datetime) else repr(value))

    filtering: Any = structlog.make_filtering_bound_logger(level)

    class OneStep(filtering):  # type: ignore[misc]
        """Writes a line by `line` alone, without a chain of processors, while that is what is configured."""

        def info(self, event: str, /, *args: Any, **fields: Any) -> None:
            if args or self._context or level > logging.INFO or self._processors[0] is not line:
                super().info(event, *args, **fields)
            else:
                fields["event"] = event
                self._logger.msg(line(None, "info", fields))

        def _proxy_to_logger(self, name: str, event: str | None = None, /, **fields: Any) -> None:
            if self._processors[0] is not line:
                super()._proxy_to_logger(name, event, **fields)
                return
            said = {**self._context, **fields} if self._context else fields
            said["event"] = event
            self._logger.msg(line(None, name, said))

    people: list[Processor] = [
        name_role,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        safe_exception,
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=28),
    ]
    structlog.configure(
        processors=[line] if form == "json" else people,
        wrapper_class=OneStep if form == "json" else filtering,
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_ToStructlog()]
    root.setLevel(logging.WARNING)


def settle() -> None:
    """Let loggers keep what they were configured with, so that a line costs less: for a process that never configures them again."""
    structlog.configure(cache_logger_on_first_use=True)


def _time(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def safe_exception(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace an exception by its type and the places it passed through: its text may hold what a peer sent."""
    found = event.pop("exc_info", None)
    error = found if isinstance(found, BaseException) else sys.exc_info()[1] if found else None
    if error is not None:
        event["error"] = type(error).__qualname__
        event["at"] = places(error)
    return event


def places(error: BaseException) -> list[str]:
    """`module:line` of each frame, the innermost last."""
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    return [f"{frame.filename.rsplit('site-packages/', 1)[-1].rsplit('src/', 1)[-1]}:{frame.lineno}" for frame in frames]


class _ToStructlog(logging.Handler):
    """A library's warning: its unformatted message only, since arguments may be personal."""

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {"library": record.name, "template": str(record.msg)[:200] if record.args else record.name}
        if record.exc_info:
            fields["exc_info"] = record.exc_info[1]
        structlog.get_logger().log(max(record.levelno, logging.WARNING), LIBRARY, **fields)
