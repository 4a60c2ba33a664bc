"""Schemas of the responses about API tokens (not part of OBShell's API)."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, with_config
from pydantic.config import JsonDict
from typing_extensions import TypedDict

from dagengine.api.schemas.base import EXAMPLE_TIME, Time
from dagengine.model.credentials import Access

_TOKEN: JsonDict = {
    "name": "ci",
    "rights": "act",
    "created_by": "root@sys from 127.0.0.1",
    "created_at": EXAMPLE_TIME,
    "expires_at": None,
    "last_used_at": None,
    "expired": False,
    "clusters": None,
}
_TEXT = "dag_demo_" + "A" * 43


@with_config(ConfigDict(json_schema_extra={"examples": [_TOKEN]}))
class TokenDto(TypedDict):
    """An API token, without its secret."""

    name: str
    rights: Access
    created_by: str
    created_at: Time
    expires_at: Annotated[Time | None, Field(description="null if it does not expire")]
    last_used_at: Annotated[Time | None, Field(description="to the minute; null before that")]
    expired: bool
    clusters: Annotated[
        list[str] | None,
        Field(description="clusters that a token of the service may use; null for all"),
    ]


@with_config(ConfigDict(json_schema_extra={"examples": [{**_TOKEN, "token": _TEXT}]}))
class NewTokenDto(TokenDto):
    """A new API token; no later response contains its text."""

    token: Annotated[str, Field(description="for the header `Authorization: Bearer`")]
