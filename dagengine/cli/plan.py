"""Text output of a `--dry-run` plan. Pure."""

from __future__ import annotations

from dagengine.cli.render import Json

_WIDTH = len("blocked")


def is_clear(plan: Json) -> bool:
    """True if the lock is free and no server is blocked or unknown."""
    is_free = plan["lock"] is None or plan["lock"]["dag_id"] is None
    bad = [server for server in plan["servers"] if server["verdict"] in ("blocked", "unknown")]
    return is_free and not bad


def render_plan(plan: Json) -> list[str]:
    """Render a plan: the lock, and each server with its verdict, checks and commands."""
    lines = [f"{plan['name']}: this is what it would do; nothing was changed"]
    if plan["lock"] is not None:
        lines.append(f"lock '{plan['lock']['key']}': {plan['lock']['about']}")
    for server in plan["servers"]:
        lines.append(f"  {server['server']}  {server['verdict']:<{_WIDTH}}  {server['reason']}")
        lines += [
            f"      {check['level']}: [{check['check']}] {check['cause']}; {check['remedy']}"
            for check in server["checks"]
            if check["level"] != "ok"
        ]
        lines += [f"      would run: {command}" for command in server["commands"]]
    return lines
