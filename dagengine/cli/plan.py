"""`--dry-run`: a plan for people. Pure."""

from __future__ import annotations

from dagengine.cli.render import Json

_WIDTH = len("blocked")


def can_go_on(plan: Json) -> bool:
    """True when the lock is free and nothing stands in the way on any server."""
    is_free = plan["lock"] is None or plan["lock"]["dag_id"] is None
    bad = [server for server in plan["servers"] if server["verdict"] in ("blocked", "unknown")]
    return is_free and not bad


def render_plan(plan: Json) -> list[str]:
    """What would be done: the lock, each server with its verdict, checks and commands."""
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
