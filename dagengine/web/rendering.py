"""Rendering of templates, and the headers of responses with HTML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.resources import files

from aiohttp import web
from jinja2 import (
    BaseLoader,
    ChoiceLoader,
    Environment,
    PackageLoader,
    PrefixLoader,
    StrictUndefined,
)
from markupsafe import Markup

from dagengine.text import escape_controls

OWN_PACKAGE = "dagengine.web"

PAGE_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Headers of every response with HTML."""


def _show(value: object) -> object:
    """Return the value of an expression in a template as it may be shown."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return escape_controls(value)
    return value


def make_environment(packages: Iterable[str]) -> Environment:
    """Return the environment for the templates of `dagengine.web` and of other packages.

    Args:
        packages: packages with a directory `templates`; the names of their templates have the
            name of the package and a slash in front.
    """
    others: dict[str, BaseLoader] = {
        package: PackageLoader(package) for package in packages if package != OWN_PACKAGE
    }
    environment = Environment(
        loader=ChoiceLoader([PrefixLoader(others), PackageLoader(OWN_PACKAGE)]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_show,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.clear()  # templates receive everything from their model
    return environment


def html_response(html: str, status: int = 200) -> web.Response:
    """Return a response with a page."""
    return web.Response(
        text=html, status=status, content_type="text/html", charset="utf-8", headers=PAGE_HEADERS
    )


def read_static_file(name: str) -> bytes:
    """Return the content of a static file of this package."""
    return (files(OWN_PACKAGE) / "static" / name).read_bytes()
