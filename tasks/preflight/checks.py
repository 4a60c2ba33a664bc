"""The checks of stage 2, in the order in which they run.

docs/reference/checks.md is generated from `CHECKS`. To add a check, see CONTRIBUTING.md.
"""

from __future__ import annotations

from tasks.preflight.checks_host import HOST_CHECKS
from tasks.preflight.checks_server import SERVER_CHECKS
from tasks.preflight.registry import CheckRegistry

CHECKS = CheckRegistry(SERVER_CHECKS, HOST_CHECKS)
"""Each subject has its own file; within it, checks run in the order of their declarations."""

run_checks = CHECKS.run
find_skip_problem = CHECKS.find_skip_problem
