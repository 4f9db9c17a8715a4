"""What runs in a job process: one piece of work, as its scheduler orders, then the end.

    python -m scheduler.job DESCRIPTOR

where the descriptor is one end of a ``scheduler.channel``. See ``scheduler.job_process``.
"""

from __future__ import annotations

import os
import socket
import sys
import threading

from backend import collector, own_process
from backend.logs import configure_logging, get_logger
from scheduler.channel import Channel
from scheduler.job_process import DONE, FAILED, REPLACED
from scheduler.release import fingerprint
from scheduler.shutdown import Shutdown, leave_signals_to_the_parent

log = get_logger(__name__)


def main() -> None:
    """Do what is ordered over the channel, say what came of it, and end."""
    own_process.prepare()
    leave_signals_to_the_parent()
    configure_logging("INFO", "auto")  # until the settings are there
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)  # the channel ends with this process, not its workers
    channel = Channel(socket.socket(fileno=descriptor))
    try:
        order = channel.receive()
    except EOFError:
        return
    assert order is not None
    # Before anything of it is loaded that the scheduler's release might not have.
    if order["release"] != fingerprint():
        channel.send(REPLACED)
        return
    collector.pause()
    from scheduler import working

    collector.resume()
    shutdown = Shutdown(order["drain_seconds"])
    shutdown.bound()
    threading.Thread(target=_listen, args=(channel, shutdown), daemon=True).start()
    work = working.JOBS[order["job"]]

    def beat(seconds: float) -> None:
        channel.send("beat", seconds=seconds)

    try:
        channel.send(DONE, **work(order, shutdown, beat))
    except Exception as error:
        channel.send(FAILED, **working.failed(order["job"], error))


def _listen(channel: Channel, shutdown: Shutdown) -> None:
    """Hear of stops. A scheduler that is gone cannot ask any more: stop at once."""
    try:
        while channel.receive() is not None:
            shutdown.request()
    except EOFError:
        if not shutdown.times:
            log.warning("parent_gone")
        shutdown.request()
        shutdown.request()


if __name__ == "__main__":
    main()
