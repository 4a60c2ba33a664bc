"""Which controllers an observer declares dead."""

from __future__ import annotations

from dagengine.ownership.observation import Observation, Silent, observe
from dagengine.ownership.timings import Timings
from tests.support.fleets import fleet

TIMINGS = Timings(lease_s=2.5)
ME, OTHER = 1, 2


class Observer:
    """Observes two controllers; its own beat grows with each read unless it is `silenced`."""

    def __init__(self) -> None:
        self.observation = Observation()
        self.own_beat = 0
        self.is_silenced = False

    def read(self, sent_s: float, beat: int, *, took_s: float = 0.0) -> tuple[Silent, ...]:
        self.own_beat += not self.is_silenced
        table = fleet([], live=[ME, OTHER], beats={ME: self.own_beat, OTHER: beat})
        self.observation, silent = observe(
            self.observation, table, ME, sent_s=sent_s, received_s=sent_s + took_s, timings=TIMINGS
        )
        return silent


def test_observe_silence_of_whole_lease_is_death() -> None:
    observer = Observer()
    assert [observer.read(at / 4, beat=7) for at in range(10)] == [()] * 10  # until 2.25 s
    assert observer.read(2.5, beat=7) == (Silent(OTHER, 7),)


def test_observe_changed_beat_begins_lease_again() -> None:
    observer = Observer()
    for at in range(10):
        observer.read(at / 4, beat=7)
    assert observer.read(2.5, beat=8) == ()
    assert [observer.read(2.5 + at / 4, beat=8) for at in range(10)] == [()] * 10
    assert observer.read(5.0, beat=8) == (Silent(OTHER, 8),)


def test_observe_counts_from_arrival_of_first_response() -> None:
    observer = Observer()
    observer.read(0.0, beat=7, took_s=0.5)
    for at in range(3, 12):
        assert observer.read(at / 4, beat=7) == ()  # the last one was sent at 2.75 s
    assert observer.read(3.0, beat=7) == (Silent(OTHER, 7),)


def test_observe_after_gap_begins_again() -> None:
    observer = Observer()
    observer.read(0.0, beat=7)
    assert observer.read(2.6, beat=7) == ()
    assert [observer.read(2.6 + at / 4, beat=7) for at in range(10)] == [()] * 10
    assert observer.read(5.2, beat=7) == (Silent(OTHER, 7),)


def test_observe_slow_response_is_gap() -> None:
    observer = Observer()
    for at in range(8):
        observer.read(at / 4, beat=7)
    assert observer.read(2.6, beat=7, took_s=1.2) == ()


def test_observe_without_own_beat_declares_none_dead() -> None:
    # The database answers reads only: every controller is silent, this one included.
    observer = Observer()
    observer.read(0.0, beat=7)
    observer.is_silenced = True
    assert [observer.read(at / 4, beat=7) for at in range(1, 60)] == [()] * 59
    observer.is_silenced = False
    # The others get the whole lease from the time when writes are possible again.
    assert [observer.read(15.0 + at / 4, beat=7) for at in range(8)] == [()] * 8
    assert [observer.read(17.0 + at / 4, beat=7) for at in range(3)][-1] == (Silent(OTHER, 7),)


def test_observe_by_dead_observer_decides_nothing() -> None:
    observation = Observation()
    for at in range(20):
        table = fleet([], live=[OTHER], dead=[ME])
        observation, silent = observe(
            observation, table, ME, sent_s=at / 4, received_s=at / 4, timings=TIMINGS
        )
        assert silent == ()
