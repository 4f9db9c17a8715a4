"""Run one command and write what it cost: ``python -IS launch.py REPORT COMMAND…``.

A process's peak memory (``ru_maxrss``) starts at that of the process that forked it, and survives
``exec``. So nothing is measured as a child of the benchmark, which grows large, but of this: it
imports next to nothing, and stays under 12 MB.
"""

import json
import os
import sys
import time


def main(report: str, command: list[str]) -> None:
    """Write seconds, CPU seconds, peak bytes and the exit code of ``command`` as one JSON object.

    The figures are of the command and the descendants that it waited for; the peak is that of the
    largest of these processes.
    """
    started = time.perf_counter()
    process_id = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(process_id, 0)
    cost = {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_bytes": usage.ru_maxrss * 1024,
        "exit_code": os.waitstatus_to_exitcode(status),
    }
    with open(report, "w", encoding="ascii") as file:
        json.dump(cost, file)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
