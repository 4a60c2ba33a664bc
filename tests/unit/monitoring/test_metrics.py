"""The metrics of servers, locks and starts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dagengine.api.metrics import measure_locks
from dagengine.model.records import DagDetail, DagRecord, LockRecord
from dagengine.model.states import Operator, State
from tasks.cluster.cluster_file import ClusterFile
from tasks.cluster.observation import AVAILABLE, NOT_RUNNING, RESTRICTED, Observation
from tasks.flavours.select import FLAVOURS
from tasks.monitoring.metrics import measure_last_start, measure_servers

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def cluster(tmp_path: Path) -> ClusterFile:
    path = tmp_path / "cluster.yaml"
    path.write_text(
        "{name: x, id: 1, flavour: seekdb, root_password: none, defaults: {home: /h},"
        " zones: {z1: [{ip: 10.0.0.1}], z2: [{ip: 10.0.0.2}]}}"
    )
    return ClusterFile(path, FLAVOURS)


@pytest.mark.parametrize(
    ("observation", "value"),
    [
        (None, 0.0),
        (Observation(NOW, NOT_RUNNING), 0.0),
        (Observation(NOW, RESTRICTED), 0.0),
        (Observation(NOW, AVAILABLE, is_known=False), 0.0),
        (Observation(NOW, AVAILABLE), 1.0),
    ],
)
def test_server_is_up_only_if_known_to_answer(
    cluster: ClusterFile, observation: Observation | None, value: float
) -> None:
    if observation is not None:
        cluster.record_observation("10.0.0.2:2886", observation)
    metric = measure_servers(cluster)
    assert [(s.labels, s.value) for s in metric.samples] == [(("z1", "1"), 0), (("z2", "2"), value)]
    assert metric.labels == ("zone", "server")


def test_labels_of_servers_do_not_name_hosts(cluster: ClusterFile) -> None:
    assert "10.0.0" not in str(measure_servers(cluster))


def test_lock_is_held_since_it_was_taken() -> None:
    locks = [
        LockRecord("a", 7, 1, "Start OB", NOW - timedelta(seconds=90)),
        LockRecord("b", None, 1, "", NOW - timedelta(seconds=90)),
    ]
    samples = measure_locks(locks, NOW).samples
    assert [(s.labels, s.value) for s in samples] == [(("a",), 90.0), (("b",), 0.0)]


def dag(operator: Operator, age_s: float) -> DagDetail:
    at = NOW - timedelta(seconds=age_s)
    ids = (1, "Start OB", 1, {}, (), 6, 6)
    return DagDetail(DagRecord(*ids, State.SUCCEED, operator, None, 0, 0, None, at, at, at), None)


def test_last_start_is_the_latest_end() -> None:
    starts = [dag(Operator.RUN, 60), dag(Operator.RETRY, 30), dag(Operator.RUN, 90)]
    (sample,) = measure_last_start(starts).samples
    assert sample.value == (NOW - timedelta(seconds=30)).timestamp()


@pytest.mark.parametrize("operator", [Operator.PASS, Operator.ROLLBACK])
def test_start_without_success_does_not_count(operator: Operator) -> None:
    assert measure_last_start([dag(operator, 1)]).samples == ()
