"""`dagengine explain`: every code has a cause and a remedy."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import pytest

import dagengine
import tasks
from dagengine.api.handlers.tasks import DAG_REFUSALS, NODE_REFUSALS
from dagengine.errors import ConfigError, DagengineError
from tasks.cli.explain import explain_code, list_codes, read_api_codes
from tasks.diagnosis.error_codes import KNOWN_ERRORS
from tasks.errors import Code
from tasks.preflight.checks import CHECKS


def error_classes(base: type[DagengineError] = DagengineError) -> Iterator[type[DagengineError]]:
    yield base
    for error in base.__subclasses__():
        yield from error_classes(error)


def all_api_codes() -> set[str]:
    for package in (dagengine, tasks):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name.endswith("errors"):
                importlib.import_module(module.name)
    refusals = {each for each in (*DAG_REFUSALS, *NODE_REFUSALS) if isinstance(each, str)}
    return {str(error.err_code) for error in error_classes()} | {*Code} | refusals


def test_every_error_code_has_an_explanation() -> None:
    codes = [explanation.code for explanation in read_api_codes()]
    assert all_api_codes() - {*codes} == set()
    assert codes == sorted(set(codes))


def test_every_explanation_has_cause_and_remedy() -> None:
    for code in list_codes():
        assert all(each.cause and each.remedy for each in explain_code(code))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("OB.Zone.NotExist", "OB.Zone.NotExist"),
        ("[ob.zone.notexist]:", "OB.Zone.NotExist"),
        ("-4184", "-4184 OB_SERVER_OUTOF_DISK_SPACE"),
        ("4184", "-4184 OB_SERVER_OUTOF_DISK_SPACE"),
        ("OB_SERVER_OUTOF_DISK_SPACE", "-4184 OB_SERVER_OUTOF_DISK_SPACE"),
        ("ports", "ports"),
    ],
)
def test_explain_code_accepts_every_spelling(text: str, code: str) -> None:
    assert explain_code(text)[0].code == code


def test_list_codes_has_codes_of_servers_and_checks() -> None:
    codes = {*list_codes()}
    assert {f"{code}" for code in KNOWN_ERRORS} <= codes
    assert {check.name for check in CHECKS} <= codes


def test_explain_code_unknown_names_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        explain_code("OB.Zone.NotExists")
    assert "OB.Zone.NotExist" in caught.value.remedy
    with pytest.raises(ConfigError) as caught:
        explain_code("?")
    assert caught.value.remedy
