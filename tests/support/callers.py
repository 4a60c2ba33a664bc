"""Callers for tests that call a handler without HTTP."""

from __future__ import annotations

from dagengine.extension import Caller, CallerKind, Right

TESTER = Caller(CallerKind.LOCAL_USER, "tester", frozenset(Right), "the socket")
