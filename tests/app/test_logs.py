"""Logs: events and fields; never what an exception or a library says of a peer."""

import json
import subprocess
import sys

import pytest

CODE = """
import logging, structlog
from hushwire.app import logs
logs.configure("json", "gateway")
log = structlog.get_logger("here")
log.info("call.refused", reason="country")
try:
    raise ValueError("+493023125000")
except ValueError:
    log.exception("went.wrong")
    logging.getLogger("library").exception("failed for %s", "+493023125000")
logging.getLogger("library").warning("peer %s sent junk", "192.0.2.9")
logging.getLogger("library").info("not of interest")
"""


def test_lines_are_json_with_a_role_and_hold_no_exception_text() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, env={"PYTHONPATH": "src"})
    assert done.stdout == ""
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"] for line in lines] == ["call.refused", "went.wrong", "library.message", "library.message"]
    assert {line["role"] for line in lines} == {"gateway"}
    assert lines[1]["error"] == "ValueError"
    assert lines[1]["at"]
    assert "+493023125000" not in done.stderr
    assert "192.0.2.9" not in done.stderr
    assert lines[3]["template"] == "peer %s sent junk"


@pytest.mark.parametrize("level", ["info", "warning", "error"])
def test_a_field_may_have_any_name_that_a_line_has_not(level: str) -> None:
    fields = {"method": "REGISTER", "name": "anna", "method_name": "x", "self_": 1, "logger": "y"}
    ready = "import structlog; from hushwire.app import logs; logs.configure('json', 'gateway')"
    code = f"{ready}; structlog.get_logger().{level}('e', **{fields!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": "src"})
    assert json.loads(done.stderr).items() >= {**fields, "event": "e", "level": level, "role": "gateway"}.items()
