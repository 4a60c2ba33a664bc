"""The recorded parameters against the installed seekdb."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.cluster.parameters import load_parameters
from tests.layouts.record_parameters import booted_seekdb, is_refused, read_parameters
from tests.unit.cluster.test_parameters import ACCEPTED, REFUSED

pytestmark = pytest.mark.slow


async def test_recorded_parameters_are_those_of_program(tmp_path: Path) -> None:
    with booted_seekdb(tmp_path) as port:
        present = await read_parameters(port)
    recorded = load_parameters()
    assert {name: each.type for name, each in recorded.items()} == {
        name: parameter.type for name, (parameter, _) in present.items()
    }


def test_program_accepts_and_refuses_recorded_values() -> None:
    options = [*ACCEPTED, *REFUSED]
    refused = [option for option in options if is_refused(*option.split("=", 1))]
    assert refused == REFUSED
