"""The faults: what each does, and whether it struck (see `scene` for what counts)."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from stocklog.bench.chaos.flow import MidFrameCut
from stocklog.bench.chaos.rig import Actor
from stocklog.bench.chaos.scene import Fault, Outcome, Scene, lost_since, note_strike, weigh

__all__ = ["CLUSTER", "SINGLE", "Fault", "Outcome", "Scene"]

_NOTICE_S = 1.0
# Longer than twice the workers' heartbeat of 2 s, so that silence is noticed.
_SILENCE_S = (4.5, 6.5)


def _on_connection(
    scene: Scene, outcome: Outcome, act: Callable[[Actor], int], patience: float = _NOTICE_S
) -> None:
    """Do something to one actor's connections, and see whether it lost one.

    Not every reader tells (one that reads ranges opens connections all the time): of
    those the proxy knows how many connections it cut.
    """
    actor = outcome.target_actor or scene.anyone()
    outcome.target_actor, outcome.target = actor, actor.task.name
    note_strike(scene, outcome)
    cut = act(actor)
    told = scene.rig.wait_for(lambda: lost_since(actor, outcome.struck_at), patience)
    outcome.struck = told or (cut > 0 and actor.task.kind == "ranges")
    outcome.healed_at = time.monotonic()
    weigh(scene, outcome)


# -- the connection ------------------------------------------------------------------------


def _reset(scene: Scene, outcome: Outcome) -> None:
    _on_connection(scene, outcome, lambda actor: sum(p.cut("rst") for p in actor.proxies))


def _finish(scene: Scene, outcome: Outcome) -> None:
    _on_connection(scene, outcome, lambda actor: sum(p.cut("fin") for p in actor.proxies))


def _cut_in_frame(scene: Scene, outcome: Outcome) -> None:
    actor = scene.anyone()
    outcome.target_actor = actor
    toward = "broker" if actor.task.role == "producer" else "client"
    share = scene.choose.uniform(0.05, 0.95)
    _on_connection(
        scene,
        outcome,
        lambda actor: sum(
            proxy.cut_in_frame(
                MidFrameCut(share, 200), "broker" if toward == "broker" else "client"
            )
            for proxy in actor.proxies
        ),
        patience=5.0,
    )


def _freeze(scene: Scene, outcome: Outcome) -> None:
    def act(actor: Actor) -> int:
        frozen = sum(proxy.freeze() for proxy in actor.proxies)
        try:
            scene.pause(*_SILENCE_S)
        finally:
            for proxy in actor.proxies:
                proxy.thaw()
        return frozen

    _on_connection(scene, outcome, act)
    # What counts is what was unconfirmed while nothing passed.
    weigh(scene, outcome, outcome.struck_at + 0.5)


def _slow(scene: Scene, outcome: Outcome) -> None:
    actor = scene.producer()
    outcome.target_actor, outcome.target = actor, actor.task.name
    note_strike(scene, outcome)
    rate = scene.choose.uniform(2_000, 50_000)
    lines = sum(proxy.slow(rate) for proxy in actor.proxies)
    scene.pause(2.0, 4.0)
    waited = sum(proxy.held for proxy in actor.proxies)
    weigh(scene, outcome, time.monotonic())
    for proxy in actor.proxies:
        proxy.slow(None)
    outcome.struck = lines > 0 and waited > 0
    outcome.healed_at = time.monotonic()


def _let_go_late(scene: Scene, outcome: Outcome) -> None:
    """Keep back what a producer sends, cut it off, and let go when it has connected again."""
    actor = scene.producer()
    outcome.target_actor, outcome.target = actor, actor.task.name
    for proxy in actor.proxies:
        proxy.hold()
    scene.pause(0.3, 1.5)
    held = sum(proxy.held for proxy in actor.proxies)
    note_strike(scene, outcome)
    for proxy in actor.proxies:
        proxy.reset_clients()
    scene.rig.wait_for(lambda: lost_since(actor, outcome.struck_at), _NOTICE_S)
    scene.pause(0.0, 0.5)
    for proxy in actor.proxies:
        proxy.release()
    outcome.struck = held > 0 and lost_since(actor, outcome.struck_at)
    outcome.healed_at = time.monotonic()
    weigh(scene, outcome)


# -- processes -----------------------------------------------------------------------------


def _kill_actor(scene: Scene, outcome: Outcome, actor: Actor) -> None:
    outcome.target_actor, outcome.target = actor, actor.task.name
    outcome.struck = actor.is_running
    note_strike(scene, outcome)
    actor.kill()
    weigh(scene, outcome)
    scene.pause(0.0, 0.5)
    actor.start()
    outcome.healed_at = time.monotonic()


def _kill_producer(scene: Scene, outcome: Outcome) -> None:
    actor = scene.producer()
    _kill_actor(scene, outcome, actor)
    kept = actor.producer
    assert kept is not None
    # After the first confirm; that others follow is waited for before the next fault.
    outcome.struck &= any(at < outcome.struck_at for at, _, _ in kept.confirmed)


def _kill_reader(scene: Scene, outcome: Outcome) -> None:
    actor = scene.reader()
    _kill_actor(scene, outcome, actor)
    kept = actor.reader
    assert kept is not None
    outcome.struck &= 0 < kept.latest < outcome.struck_at


# -- nodes ---------------------------------------------------------------------------------


def _end_node(scene: Scene, outcome: Outcome, node: int, number: int) -> None:
    rig = scene.rig
    outcome.target = rig.nodes[node].name
    was_leader = rig.leader(scene.stream) == node
    note_strike(scene, outcome)
    rig.end_node(node, number)
    outcome.struck = True
    if was_leader and len(rig.nodes) > 1:
        outcome.named_at = _wait_for_leader(scene, not_node=node)
    weigh(scene, outcome)
    scene.pause(0.0, 2.0)
    rig.mend()
    outcome.healed_at = time.monotonic()


def _wait_for_leader(scene: Scene, not_node: int) -> float | None:
    """When Metadata, asked on a connection to a node that lives, names another leader."""
    found: list[float] = []

    def named() -> bool:
        leader = scene.rig.leader(scene.stream)
        if leader is not None and leader != not_node:
            found.append(time.monotonic())
        return bool(found)

    scene.rig.wait_for(named, 30.0)
    return found[0] if found else None


def _kill_node(scene: Scene, outcome: Outcome) -> None:
    node = scene.choose.randrange(len(scene.rig.nodes))
    _end_node(scene, outcome, node, signal.SIGKILL)


def _kill_leader(scene: Scene, outcome: Outcome) -> None:
    leader = scene.rig.leader(scene.stream)
    _end_node(scene, outcome, leader or 0, signal.SIGKILL)


def _restart_node(scene: Scene, outcome: Outcome) -> None:
    node = scene.choose.randrange(len(scene.rig.nodes))
    _end_node(scene, outcome, node, signal.SIGTERM)


def _stop_node(scene: Scene, outcome: Outcome) -> None:
    """SIGSTOP, long enough that clients give the node up, and SIGCONT."""
    rig = scene.rig
    node = scene.choose.randrange(len(rig.nodes))
    outcome.target = rig.nodes[node].name
    note_strike(scene, outcome)
    rig.signal(node, signal.SIGSTOP)
    try:
        scene.pause(1.0, 6.5)
    finally:
        rig.signal(node, signal.SIGCONT)
    outcome.struck = True
    outcome.healed_at = time.monotonic()
    weigh(scene, outcome, outcome.struck_at + 0.1)


def _disk_alarm(scene: Scene, outcome: Outcome) -> None:
    rig = scene.rig
    outcome.target = "every node"
    rig.control("set_disk_free_limit", "100000GB")
    try:
        scene.pause(0.5, 2.0)
        note_strike(scene, outcome)
        weigh(scene, outcome)
        outcome.struck = "disk" in rig.control("eval", "rabbit_alarm:get_alarms().")
        scene.pause(0.0, 1.0)
    finally:
        rig.control("set_disk_free_limit", "50MB")
    outcome.healed_at = time.monotonic()


# -- the cluster ---------------------------------------------------------------------------


def _move_leader(scene: Scene, outcome: Outcome) -> None:
    rig = scene.rig
    leader = rig.leader(scene.stream)
    others = [node for node in range(len(rig.nodes)) if node != leader]
    chosen = scene.choose.choice(others)
    name = rig.nodes[chosen].name
    outcome.target = f"to {name}"
    note_strike(scene, outcome)
    rig.control(
        "eval",
        f'rabbit_stream_queue:restart_stream(<<"/">>, <<"{scene.stream}">>,'
        f" #{{preferred_leader_node => '{name}'}}).",
    )
    outcome.named_at = _wait_for_leader(scene, not_node=-1 if leader is None else leader)
    outcome.struck = outcome.named_at is not None
    outcome.healed_at = time.monotonic()
    _weigh_when_lost(scene, outcome)


def _weigh_when_lost(scene: Scene, outcome: Outcome) -> None:
    """Of a fault that strikes somewhere in a slow command: when producers lost connections."""
    scene.rig.update()
    moments = [
        at
        for actor in scene.rig.producers
        if actor.producer is not None
        for at in actor.producer.lost
        if at >= outcome.struck_at
    ]
    outcome.struck &= bool(moments)
    if moments:
        outcome.struck_at = min(moments)
    weigh(scene, outcome)


def _take_replica_away(scene: Scene, outcome: Outcome) -> None:
    rig = scene.rig
    leader = rig.leader(scene.stream)
    chosen = scene.choose.choice([n for n in range(len(rig.nodes)) if n != leader])
    name = rig.nodes[chosen].name
    outcome.target = name
    where = f'<<"/">>, <<"{scene.stream}">>, \'{name}\''
    note_strike(scene, outcome)
    rig.control("eval", f"rabbit_stream_queue:delete_replica({where}).")
    left = rig.client.metadata([scene.stream])[scene.stream].replicas
    outcome.struck = len(left) < len(rig.nodes) - 1
    weigh(scene, outcome, time.monotonic())
    scene.pause(0.2, 1.5)
    rig.control("eval", f"rabbit_stream_queue:add_replica({where}).")
    outcome.healed_at = time.monotonic()


SINGLE: dict[str, tuple[Fault, int]] = {
    "connection reset": (_reset, 2),
    "connection finished": (_finish, 2),
    "cut in a frame": (_cut_in_frame, 2),
    "connection frozen": (_freeze, 1),
    "connection slowed": (_slow, 1),
    "old bytes let go late": (_let_go_late, 2),
    "producer killed": (_kill_producer, 3),
    "reader killed": (_kill_reader, 2),
    "node killed": (_kill_node, 2),
    "node stopped and continued": (_stop_node, 1),
    "node restarted": (_restart_node, 1),
    "disk alarm": (_disk_alarm, 1),
}
"""Each fault and how often it is in a deck of twenty."""

CLUSTER: dict[str, tuple[Fault, int]] = {
    "connection reset": (_reset, 2),
    "connection finished": (_finish, 1),
    "cut in a frame": (_cut_in_frame, 2),
    "connection frozen": (_freeze, 1),
    "connection slowed": (_slow, 1),
    "old bytes let go late": (_let_go_late, 1),
    "producer killed": (_kill_producer, 2),
    "reader killed": (_kill_reader, 1),
    "node killed": (_kill_node, 1),
    "leader killed": (_kill_leader, 2),
    "node stopped and continued": (_stop_node, 1),
    "node restarted": (_restart_node, 1),
    "disk alarm": (_disk_alarm, 1),
    "leader moved": (_move_leader, 2),
    "replica taken away and given back": (_take_replica_away, 1),
}
"""The same on a cluster."""
