"""Ids of DAGs as users type them: complete, `last`, or a suffix that only one DAG has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from dagengine.cli import messages
from dagengine.errors import DagIdUnknown

if TYPE_CHECKING:
    from dagengine.client import Client

LAST = "last"
_COMPLETE = re.compile(r"[0-9]{17,}")
"""A complete id has a prefix, an address, a port and a row id: 17 digits or more."""

_MAX_NAMED = 5


async def resolve_dag_id(client: Client, text: str) -> str:
    """Return the complete id of the DAG that a user means.

    A complete id is returned without a request: its DAG may have been deleted.

    Raises:
        DagIdUnknown: no DAG, or more than one, matches.
    """
    if is_complete(text):
        return text
    return select_dag_id(text, [dag["id"] for dag in await client.list_dags()])


async def resolve_dag_ids(client: Client, texts: Iterable[str]) -> list[str]:
    """Return the complete id of each DAG that a user means; see `resolve_dag_id`."""
    return [await resolve_dag_id(client, text) for text in texts]


def is_complete(text: str) -> bool:
    """True if the text has the length of a complete id."""
    return _COMPLETE.fullmatch(text) is not None


def select_dag_id(text: str, dag_ids: Sequence[str]) -> str:
    """Return the id that is meant by `last` or by a suffix.

    Args:
        text: as the user typed it.
        dag_ids: ids of the DAGs, newest first.

    Raises:
        DagIdUnknown: no id, or more than one, matches.
    """
    if text == LAST:
        if dag_ids:
            return dag_ids[0]
        raise DagIdUnknown(messages.NO_LAST_DAG(), remedy=messages.START_FIRST())
    if text in dag_ids:
        return text
    matching = [dag_id for dag_id in dag_ids if text and dag_id.endswith(text)]
    if len(matching) == 1:
        return matching[0]
    if not matching:
        raise DagIdUnknown(messages.ID_UNKNOWN(text=text), remedy=messages.LIST_IDS())
    names = ", ".join(matching[:_MAX_NAMED])
    raise DagIdUnknown(
        messages.ID_AMBIGUOUS(text=text, count=len(matching)),
        remedy=messages.TYPE_MORE_DIGITS(ids=names),
    )
