"""The scheduler with one seam wrapped, for a booted machine: run as ``python stuck.py``.

A sweep that finds the file named by $STUCK deletes it and hangs: not its process, which would be
killed, but the thread that watches that process; everything else goes on. The limit after which
that counts is shortened from 120 s.
"""

import os
import time
from pathlib import Path
from typing import Any

from scheduler import service
from scheduler.cli import cli

original = vars(service)["run_job"]


def run_job(job: str, *arguments: Any, **keywords: Any) -> Any:
    path = Path(os.environ["STUCK"])
    if job == "sweep" and path.exists():
        path.unlink()
        time.sleep(3600)
    return original(job, *arguments, **keywords)


vars(service).update(run_job=run_job, _LATE_SECONDS=2.0)
cli(["run"], prog_name="dsar-scheduler")
