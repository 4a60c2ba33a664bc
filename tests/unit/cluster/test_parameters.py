"""Values of start options: what seekdb 1.4 accepted and refused, as started with each of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.cluster.parameters import (
    PARAMETERS_FILE,
    ParameterType,
    explain_refusal,
    find_unknown,
    load_parameters,
    read_number,
    render_parameters,
)

PARAMETERS = load_parameters()

# tests/layouts/test_seekdb_parameters.py compares both lists with the installed program.
ACCEPTED = [
    *("log_disk_size=2g", "log_disk_size=2GB", "log_disk_size= 2g", "log_disk_size=+2G"),
    *("log_disk_size=2000b", "log_disk_size=1P", "log_disk_size=0", "log_disk_size=8388607T"),
    *("LOG_DISK_SIZE=2G", "memory_limit=0", "memory_limit=", "stack_size=512K"),
    *("cpu_count=+1", "cpu_count= 1", "cpu_count=0x2"),
    *("enable_rpc_service=yes", "enable_rpc_service=T", "enable_rpc_service=0"),
    *("server_cpu_quota_max=1.5", "server_cpu_quota_max=1e1"),
    *("tcp_keepidle=10", "tcp_keepidle=10S", "tcp_keepidle=10000ms", "tcp_keepidle=1d"),
    *("major_freeze_duty_time=2:00", "major_freeze_duty_time=disable"),
    *("syslog_level=info", "syslog_level=WARN,SQL.*:DEBUG", "default_table_organization=X"),
    *("no_such_parameter=x", "memory_limt=1.5G"),
]
REFUSED = [
    *("memory_limit=1.5G", "memory_limit=1 G", "memory_limit=512M", "memory_limit=2147483648"),
    *("log_disk_size=2GiB?", "log_disk_size=2g ", "log_disk_size=-2G", "log_disk_size=2048"),
    *("log_disk_size=8388608T", "LOG_DISK_SIZE=1.5", "stack_size=1K", "stack_size=21M"),
    *("cpu_count=abc", "cpu_count=-1", "cpu_count=1.0", "cpu_count=1 ", "cpu_count=1k"),
    *("query_memory_limit_percentage=500", "mysql_port=99"),
    *("enable_rpc_service=maybe", "enable_rpc_service=2", "enable_rpc_service= true"),
    *("server_cpu_quota_max=x", "server_cpu_quota_max=-1", "server_cpu_quota_max=17"),
    *("tcp_keepidle=10y", "tcp_keepidle=1.5s", "tcp_keepidle=10 s", "tcp_keepidle=0"),
    *("major_freeze_duty_time=25:99", "major_freeze_duty_time=24:00", "major_freeze_duty_time=2"),
    *("syslog_level=LOUD", "default_compress_func=gzip", "workarea_size_policy=LOUD"),
]


@pytest.mark.parametrize("option", ACCEPTED)
def test_explain_refusal_of_accepted_value_is_none(option: str) -> None:
    assert explain_refusal(*option.split("=", 1), PARAMETERS) is None


@pytest.mark.parametrize("option", REFUSED)
def test_explain_refusal_names_option_and_value(option: str) -> None:
    name, value = option.split("=", 1)
    problem = explain_refusal(name, value, PARAMETERS)
    assert problem is not None
    assert problem.startswith(f"{name} {value!r} is ")


@pytest.mark.parametrize(
    ("option", "limit"),
    [
        ("memory_limit=1M", "the minimum, 1G"),
        ("stack_size=1G", "the maximum, 20M"),
        ("tcp_keepidle=1ms", "the minimum, 1s"),
        ("dead_socket_detection_timeout=1d", "the maximum, 2h"),
        ("cpu_count=-1", "the minimum, 0"),
        ("undo_retention=9999999999", "the maximum, 4294967295"),
    ],
)
def test_explain_refusal_names_limit_with_unit(option: str, limit: str) -> None:
    problem = explain_refusal(*option.split("=", 1), PARAMETERS)
    assert problem is not None
    assert problem.endswith(limit)


@given(st.sampled_from(sorted(PARAMETERS)), st.text(max_size=30))
def test_explain_refusal_any_text_gives_text_or_none(name: str, value: str) -> None:
    problem = explain_refusal(name, value, PARAMETERS)
    assert problem is None or name in problem


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("memory_limt", "memory_limit"),
        ("datafile_sze", "datafile_size"),
        ("syslog_levle", "syslog_level"),
        ("logdisk_size", "log_disk_size"),
        ("xyzzy", None),
    ],
)
def test_find_unknown_gives_nearest_name(name: str, nearest: str | None) -> None:
    known = ("memory_limit", "Memory_Limit", "_hidden")
    assert find_unknown([*known, name], PARAMETERS) == {name: nearest}


def test_parameters_file_survives_rendering(tmp_path: Path) -> None:
    text = PARAMETERS_FILE.read_text(encoding="utf-8")
    copy = tmp_path / "copy.tsv"
    copy.write_text(render_parameters(PARAMETERS.values()), encoding="utf-8")
    assert copy.read_text(encoding="utf-8") == text
    assert load_parameters(copy) == PARAMETERS
    assert len(PARAMETERS) > 100


def test_read_number_bounds_long_text() -> None:
    assert read_number(ParameterType.CAPACITY, "9" * 5000 + "G") is None
    assert read_number(ParameterType.INT, "9" * 5000) is None
