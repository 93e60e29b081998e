"""A second process that takes a part of the work on blocks.

NumPy's short steps hold Python's lock, so two threads that decode are little faster than one.
Another process has a lock of its own: blocks go to it, and its results come back, through memory
that both have.

| module | what lives there |
|---|---|
| `parcels` | an object in shared memory: its large buffers there, the rest pickled |
| `arena` | shared memory in slots, which are free again when nobody looks into them any more |
| `worker` | the process |

What it is used for (decoding, encoding) lives in `stocklog.ledger`.
"""

from stocklog.workers.worker import Worker

__all__ = ["Worker"]
