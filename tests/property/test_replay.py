"""Replay protection while the clock jumps and the controller restarts: no request acts twice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from dagengine.security.errors import HeaderNotNewer, HeaderReplayed
from dagengine.security.replay import MAX_AHEAD_S, ReplayGuard, fingerprint_header
from dagengine.testing import FakeClock
from tests.support.replay_log import MemoryLog

BLOCK_BYTES = 16

Action = tuple[str, int]

ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(0, MAX_AHEAD_S)),
        st.tuples(st.just("advance"), st.integers(1, 2000)),
        st.tuples(st.just("jump"), st.integers(-8000, 8000)),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    max_size=25,
)


async def run_actions(actions: Sequence[Action]) -> None:
    """Send requests; after every action, replay all that were accepted and are valid now."""
    clock, log = FakeClock(), MemoryLog()
    guard = ReplayGuard(clock, log)
    accepted: list[tuple[bytes, int]] = []
    for number, (action, value) in enumerate(actions):
        now_s = int(clock.now().timestamp())
        if action == "send":
            keys = number.to_bytes(32, "big")
            try:
                await guard.reserve(
                    fingerprint_header(keys[-BLOCK_BYTES:], BLOCK_BYTES, keys),
                    until_s=now_s + value,
                )
            except HeaderNotNewer:
                assert any(action == "jump" for action, _ in actions[:number])
            else:
                accepted.append((keys, now_s + value))
        elif action == "advance":
            clock.advance(value)
        elif action == "jump":
            clock.jump(value)
        else:
            guard = ReplayGuard(clock, log)
            await guard.load()
        now_s = int(clock.now().timestamp())
        for keys, until_s in accepted:
            if not 0 <= until_s - now_s <= MAX_AHEAD_S:
                continue  # refused before the guard is consulted
            try:
                await guard.reserve(
                    fingerprint_header(keys[-BLOCK_BYTES:], BLOCK_BYTES, keys), until_s=until_s
                )
            except (HeaderReplayed, HeaderNotNewer):
                continue
            raise AssertionError(f"accepted twice: {actions[: number + 1]}")


@settings(max_examples=300)
@given(ACTIONS)
def test_replay_guard_with_any_clock_accepts_request_once(actions: list[Action]) -> None:
    asyncio.run(run_actions(actions))
