"""Python's garbage collector, kept from what stays anyway.

What imports make stays until the process ends. The collector finds that out again and again while
modules are imported, and twice more at the end: 0.2 of the 0.75 s of CPU of an empty
``sweep --once``. Only for a process of this program's own: the collector is the whole process's.
"""

from __future__ import annotations

import atexit
import gc


def pause() -> None:
    """Collect nothing, until ``resume``: for the time of the imports."""
    gc.disable()


def resume() -> None:
    """Collect again, all but what is there by now; and nothing at the process's end.

    What the end would collect the kernel takes back at once. Whatever must be closed is closed
    where it was opened, so nothing waits for it.
    """
    gc.freeze()
    # Python's own threshold (700 new objects) is made for smaller programs.
    gc.set_threshold(20_000, 20, 20)
    gc.enable()
    atexit.register(gc.freeze)
