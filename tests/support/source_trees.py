"""Syntax trees of the source files. Leave them unchanged: all tests of a process share them."""

from __future__ import annotations

import ast
import io
import tokenize
from functools import cache
from pathlib import Path


@cache
def parse_source(source: str) -> ast.Module:
    """Return the syntax tree of a text."""
    return ast.parse(source)


@cache
def nodes_in(source: str) -> tuple[ast.AST, ...]:
    """Return all nodes of a text's syntax tree."""
    return tuple(ast.walk(parse_source(source)))


@cache
def tokens_in(source: str) -> tuple[tuple[int, str], ...]:
    """Return the names and comments of a text, each with its type of token."""
    return tuple(
        (token.type, token.string)
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type in (tokenize.NAME, tokenize.COMMENT)
    )


def parse_file(path: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return parse_source(read_source(path))


def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    """Return all nodes of a file's syntax tree."""
    return nodes_in(read_source(path))


@cache
def read_source(path: Path) -> str:
    """Return the text of a file."""
    return path.read_text(encoding="utf-8")
