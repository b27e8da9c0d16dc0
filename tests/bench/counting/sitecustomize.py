"""Counts the function calls of a process between two signals: SIGUSR1 begins, SIGUSR2 ends and writes what was counted.

Python runs this at the start of each process that has the folder in PYTHONPATH (tests/bench/steps.py). Only the main thread is counted.
"""

import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

_counts: Counter[tuple[Any, Any]] = Counter()


def _count(frame: Any, event: str, function: Any) -> None:
    if event == "call":
        caller = frame.f_back
        _counts[frame.f_code, None if caller is None else caller.f_code] += 1
    elif event == "c_call":
        _counts[getattr(function, "__qualname__", repr(function)), frame.f_code] += 1


def _begin(*_signal: object) -> None:
    _counts.clear()
    sys.setprofile(_count)


def _end(*_signal: object) -> None:
    sys.setprofile(None)
    told = [(_name(callee), None if caller is None else _name(caller), count) for (callee, caller), count in _counts.items()]
    place = Path(os.environ["STEPS_FOLDER"], f"{os.getpid()}.json")
    place.with_suffix(".part").write_text(json.dumps(told))
    place.with_suffix(".part").replace(place)


def _name(called: Any) -> str:
    return called if isinstance(called, str) else f"{called.co_filename}:{called.co_firstlineno}:{called.co_qualname}"


if "STEPS_FOLDER" in os.environ:
    signal.signal(signal.SIGUSR1, _begin)
    signal.signal(signal.SIGUSR2, _end)
