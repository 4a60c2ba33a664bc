"""Entry point of `python -m dagengine`, which is equal to the console script `dagengine`."""

from __future__ import annotations

import sys

from dagengine.cli import main

if __name__ == "__main__":
    sys.exit(main())
