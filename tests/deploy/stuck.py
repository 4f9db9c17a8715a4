"""The scheduler with one seam wrapped, for a booted machine: run as ``python stuck.py``.

A sweep that finds the file named by $STUCK deletes it and hangs: the thread that sweeps is stuck,
everything else goes on. The limit after which that counts is shortened from 120 s.
"""

import os
import time
from pathlib import Path
from typing import Any

from scheduler import service
from scheduler.cli import cli

original = vars(service)["run_sweep"]


def run_sweep(*arguments: Any, **keywords: Any) -> Any:
    path = Path(os.environ["STUCK"])
    if path.exists():
        path.unlink()
        time.sleep(3600)
    return original(*arguments, **keywords)


vars(service).update(run_sweep=run_sweep, _LATE_SECONDS=2.0)
cli(["run"], prog_name="dsar-scheduler")
