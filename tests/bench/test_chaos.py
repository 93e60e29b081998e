"""`stocklog bench chaos` in short, on both brokers: faults strike, and nothing is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nodes import VERSIONS, Nodes, root_for
from stocklog.bench.chaos.faults import CLUSTER, SINGLE
from stocklog.bench.chaos.run import Chaos, Findings
from stocklog.bench.chaos.summary import sections

# Each once, and only one that needs a second start of a node: the whole takes about a minute.
QUICK = {
    name: (SINGLE[name][0], 1)
    for name in (
        "connection reset",
        "connection finished",
        "cut in a frame",
        "old bytes let go late",
        "producer killed",
        "reader killed",
        "node killed",
    )
}


def run(nodes: Nodes, version: str, faults: int, seed: int) -> Findings:
    folder = nodes.fresh("chaos").parent
    chaos = Chaos(folder, seed=seed, wanted=faults, root=root_for(version), table=QUICK)
    return chaos.run()


@pytest.mark.broker
@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_a_handful_of_faults_loses_and_doubles_nothing(nodes: Nodes, version: str) -> None:
    found = run(nodes, version, faults=7, seed=11)
    assert [str(anomaly) for anomaly in found.anomalies] == []
    assert found.counted == 7
    assert found.messages > 10_000
    assert found.version == version
    assert {outcome.kind for outcome in found.outcomes} == set(QUICK)


def test_each_fault_is_in_a_deck_of_twenty() -> None:
    for table in (SINGLE, CLUSTER):
        assert sum(times for _, times in table.values()) == 20
    assert set(SINGLE) < set(CLUSTER)


def test_findings_without_any_fault_make_a_table() -> None:
    tables = sections(Findings("4.0.5"), seed=1, nodes=1)
    assert tables[1].figures["lost"] == 0


def test_the_command_says_what_it_does_to_whom() -> None:
    command = [sys.executable, "-m", "stocklog", "bench", "chaos", "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "never yours" in said
    assert "--seed" in said


@pytest.mark.broker
@pytest.mark.slow
def test_a_tree_without_rabbitmq_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stocklog", "bench", "chaos", "--rabbitmq-root", str(tmp_path)]
    environment = {"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode != 0
    assert "RabbitMQ" in done.stderr
    assert list(tmp_path.glob("stocklog-chaos-*")) == []
