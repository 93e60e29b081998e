"""How Python and the C library are set in a process that moves columns."""

from __future__ import annotations

import contextlib
import gc
import os

__all__ = ["tune"]

# Of malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
#: The most that glibc takes for the second of them.
_KEPT_BYTES = 32 << 20
#: Objects made, net of those freed, before Python looks for cycles; its own 700 are a block or two.
_OBJECTS = 50_000


def tune(*, keeps_memory: bool = True) -> None:
    """Set what must be set before NumPy is imported, or holds from the beginning.

    For commands that move columns; projecting, which needs most memory, does without.

    Args:
        keeps_memory: have glibc keep what is freed. Columns come and go by the megabyte; given
            back to the system each time, every page is cleared again: a tenth of the time of
            reading and of loading Parquet. Other C libraries stay as they are.
    """
    # Nothing here multiplies matrices, for which threads would be started, and spin for a while.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.set_threshold(_OBJECTS, *gc.get_threshold()[1:])
    if keeps_memory:
        _keep_freed_memory()


def _keep_freed_memory() -> None:
    import ctypes  # which the help need not wait for

    with contextlib.suppress(AttributeError, OSError):
        set_option = ctypes.CDLL(None).mallopt
        set_option(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        set_option(_M_TRIM_THRESHOLD, _KEPT_BYTES)
