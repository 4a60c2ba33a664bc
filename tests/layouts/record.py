"""Record the layouts of homes from the installed seekdb.

    python -m tests.layouts.record DIRECTORY [NAME…]

writes `NAME.json` into the directory, for all layouts or the named ones. Expectations in an
existing file are kept. Root is needed for `failed_disk_full` only.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.layouts.layouts import LAYOUTS, Layout
from tests.layouts.real_seekdb import find_program, find_version
from tests.layouts.recording import PROGRAM, ROOT, Recording, write_recording
from tests.layouts.scan import read_parameters, scan


def record(layout: Layout) -> Recording:
    """Make a layout in a temporary directory and return its recording."""
    with _new_root(layout) as root:
        layout.make(root)
        home = root / layout.real_home
        parameters = read_parameters(home)
        port = parameters.get("mysql_port")
        hidden = {str(root): ROOT, str(find_program()): PROGRAM}
        is_real = layout.origin == "seekdb"
        return Recording(
            name=layout.name,
            description=layout.description,
            origin=layout.origin,
            version=find_version() if is_real else "",
            real_home=f"{ROOT}/{layout.real_home}",
            recorded_root=str(root),
            cluster_file=layout.cluster_file,
            entries=scan(root, hidden),
            sql_port=int(port) if port else None,
            parameters={name: value.replace(str(root), ROOT) for name, value in parameters.items()},
            is_read_only=layout.is_read_only,
        )


@contextmanager
def _new_root(layout: Layout) -> Iterator[Path]:
    mask = os.umask(0o022)
    try:
        with tempfile.TemporaryDirectory(prefix="layouts-") as directory:
            root = Path(directory).resolve()
            if not layout.in_small_disk:
                yield root
                return
            mount = ["mount", "-t", "tmpfs", "-o", "size=300m", "tmpfs", str(root)]
            subprocess.run(mount, check=True)
            try:
                yield root
            finally:
                subprocess.run(["umount", root], check=True)
    finally:
        os.umask(mask)


def main() -> None:
    parser = argparse.ArgumentParser(description="Record layouts of homes.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(LAYOUTS))
    arguments = parser.parse_args()
    arguments.directory.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or LAYOUTS:
        sys.stderr.write(f"{name}\n")
        write_recording(record(LAYOUTS[name]), arguments.directory)


if __name__ == "__main__":
    main()
