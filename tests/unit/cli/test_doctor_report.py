"""The table of `dagengine doctor`."""

from __future__ import annotations

import io

from rich.console import Console

from dagengine.extension import SelfCheckResult, SelfCheckStatus
from tasks.cli.doctor_report import print_report


def test_doctor_report_markup_is_printed_literally() -> None:
    inspection = SelfCheckResult(
        subject="127.0.0.1:2886",
        check="ports",
        health=SelfCheckStatus.BAD,
        message="the process [red]x[/red] listens on the port",
        remedy="end it, or change sql_port",
    )
    console = Console(file=io.StringIO(), width=200)
    print_report([inspection], [inspection], console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "the process [red]x[/red] listens on the port" in text
    assert text.endswith("1 checked: 1 bad\n")
