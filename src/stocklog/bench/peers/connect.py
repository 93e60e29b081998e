"""The broker of a job, for those that connect by themselves."""

from __future__ import annotations

import ssl

from stocklog.bench.job import Job
from stocklog.stream import StreamClient, StreamURI

__all__ = ["stream_client", "tls_context"]


def stream_client(job: Job) -> StreamClient:
    """A client of the job's broker; the caller closes it."""
    return StreamClient(job.uri, ssl_context=tls_context(job))


def tls_context(job: Job) -> ssl.SSLContext | None:
    """What to trust; None for a plain connection."""
    if not StreamURI.parse(job.uri).tls:
        return None
    context = ssl.create_default_context()
    if job.tls_ca:
        context.load_verify_locations(cafile=job.tls_ca)
    return context
