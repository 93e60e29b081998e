"""One run of one contender, in a process of its own."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stocklog.bench.processes import run_measured
from stocklog.errors import StocklogError

__all__ = ["Job", "Result", "run_job"]


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker does.

    Attributes:
        peer: "stocklog" (the command), "python" (our Python face), "rstream", "pika",
            "wire", "live" and "pika_live" (at a set pace), "single" or "bodies".
        verb: "publish" or "read"; for the command also "load", for Python "frame", "rows".
        uri: the broker's stream URI, password included.
        stream: the stream, or the classic queue for pika.
        count: updates.
        seed: of the simulator; a round of its own has bytes of its own.
        amqp_port: for pika; 0 if not known.
        options: what else the peer takes. The command: `arguments`, and `output`, the name of
            a file that it writes to and that is thrown away.
        tls_ca: PEM file of certificates to trust besides the system's; empty for none.
    """

    peer: str
    verb: str
    uri: str = field(repr=False)
    stream: str
    count: int
    seed: int
    amqp_port: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    tls_ca: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What a worker measured.

    Attributes:
        updates: updates confirmed, or read and decoded.
        seconds: from the first one made or asked for to the last confirm or row.
        cpu_seconds: user and system time of the process, imports and preparation included.
        peak_bytes: largest resident memory, with that of processes it started.
        facts: what else it says.
    """

    updates: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Updates a second."""
        return self.updates / self.seconds


def run_job(job: Job) -> Result:
    """Run a job and wait for it.

    Raises:
        StocklogError: it failed; the end of what it said is quoted.
    """
    if job.peer == "stocklog":
        return _run_command(job)
    text = json.dumps(asdict(job))
    out, cpu, peak = _run([sys.executable, "-m", "stocklog.bench.worker"], job, text)
    found = json.loads(out.splitlines()[-1])
    return Result(found["updates"], found["seconds"], cpu, peak, found.get("facts", {}))


def _run_command(job: Job) -> Result:
    """Ours is the whole command, measured as its summary says."""
    with tempfile.TemporaryDirectory(prefix="stocklog-bench-") as folder:
        summary = Path(folder, "summary.json")
        arguments = [*_words(job), "--stream", job.stream, "--summary", str(summary), "--quiet"]
        arguments += [str(part) for part in job.options.get("arguments", ())]
        if "output" in job.options:
            arguments += ["--output", str(Path(folder, job.options["output"]))]
        command = [sys.executable, "-m", "stocklog", *arguments]
        _, cpu, peak = _run(command, job, "", job.options.get("status", 0))
        found = json.loads(summary.read_text())
    return Result(found["updates"], found["seconds"], cpu, peak, found)


def _words(job: Job) -> list[str]:
    if job.verb == "publish":
        return ["produce", "--count", str(job.count), "--seed", str(job.seed)]
    return ["load"] if job.verb == "load" else ["consume", "first", "-e"]


def _run(command: list[str], job: Job, text: str, status: int = 0) -> tuple[str, float, int]:
    environment = {**os.environ, "STOCKLOG_URI": job.uri}
    environment.pop("STOCKLOG_TLS_CA", None)
    if job.tls_ca:
        environment["STOCKLOG_TLS_CA"] = job.tls_ca
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        used = run_measured(command, environment, text=text, out=out, err=err)
        out.seek(0)
        err.seek(0)
        if used.status != status:
            raise StocklogError(
                f"{job.peer} {job.verb} ended with status {used.status}, not {status}: "
                f"{err.read()[-2000:].strip()}"
            )
        return out.read(), used.cpu_seconds, used.peak_bytes
