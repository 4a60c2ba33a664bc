"""Printing of results."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence


def print_table(title: str, rows: Sequence[Sequence[str]]) -> None:
    """Print rows as a table; the first row is the heading."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    print(f"\n{title}")
    for row in rows:
        first, *rest = (cell for cell in zip(row, widths, strict=True))
        cells = [f"{first[0]:<{first[1]}}", *(f"{cell:>{width}}" for cell, width in rest)]
        print("  " + "  ".join(cells).rstrip())


def spread_cells(values: Sequence[float], unit: float = 1.0, digits: int = 3) -> list[str]:
    """Return median, minimum and maximum of the values in `unit` as cells."""
    summary = (statistics.median(values), min(values), max(values))
    return [f"{value / unit:.{digits}f}" for value in summary]


def print_load(when: str) -> None:
    """Print the load of the machine: high load distorts the results."""
    load = " ".join(f"{average:.2f}" for average in os.getloadavg())
    print(f"load average {when}: {load} ({os.cpu_count()} cores)", flush=True)
