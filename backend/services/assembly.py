"""The services of one process, put together from its runtime; without the exporter.

Apart from it, because most sweeps find nothing to export.
"""

from __future__ import annotations

import os
import random
import socket
from dataclasses import dataclass

from backend.extensions import Runtime
from backend.services.claims import Claims
from backend.services.control import Controller
from backend.services.export_store import ExportStore, open_store
from backend.services.retry_policy import RetryPolicy


@dataclass(frozen=True, slots=True)
class Services:
    """The services of one process, built from its runtime."""

    runtime: Runtime
    controller: Controller
    claims: Claims
    store: ExportStore

    @classmethod
    def of(cls, runtime: Runtime) -> Services:
        """Build them, once for each runtime. Connects to nothing, writes nothing."""
        if __name__ in runtime.kept:
            kept: Services = runtime.kept[__name__]
            return kept
        settings = runtime.settings
        controller = Controller(runtime.control, runtime.clock)
        policy = RetryPolicy(
            max_attempts=settings.max_attempts,
            base_seconds=settings.backoff_base_seconds,
            cap_seconds=settings.backoff_cap_seconds,
            random=random.Random(),
        )
        claims = Claims(controller, lease_seconds=settings.lease_seconds, policy=policy)
        made = cls(runtime, controller, claims, open_store(settings))
        runtime.kept[__name__] = made
        return made


def worker_name() -> str:
    """Which process this is, for the record: host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"
