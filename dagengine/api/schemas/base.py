"""Types that the other schemas share, and the envelope (protocol 1.1).

A TypedDict is a plain dict at runtime, so it adds no cost to a response. mypy checks the renderers
against these types, and the OpenAPI document is generated from them.
"""

from __future__ import annotations

from typing import Annotated, Generic, NotRequired, TypeVar

from pydantic import ConfigDict, Field, WithJsonSchema, with_config
from typing_extensions import TypedDict

_T = TypeVar("_T")

EXAMPLE_TIME = "2024-01-10T11:24:44.513664+08:00"
EXAMPLE_ID = "201684300810288613"

Time = Annotated[
    str,
    WithJsonSchema({"type": "string", "format": "date-time", "examples": [EXAMPLE_TIME]}),
]
TaskId = Annotated[
    str,
    WithJsonSchema({"type": "string", "pattern": "^[1-5][0-9]+$", "examples": [EXAMPLE_ID]}),
]
ID_CHARS = 128
"""Longest id in a request. The longest that is issued has 64 characters; some clients pad."""

Count = Annotated[int, Field(ge=0)]


class Envelope(TypedDict):
    """Around every answer."""

    successful: bool
    timestamp: Annotated[Time, Field(description="when the answer was ready")]
    duration: Annotated[int, Field(ge=0, description="milliseconds")]
    status: Annotated[int, Field(description="the HTTP status")]
    traceId: Annotated[
        str,
        Field(description="X-OBSHELL-Trace-ID of the request, else 16 hex digits; may be empty"),
    ]
    notices: NotRequired[
        Annotated[
            list[str],
            Field(
                description="what users should know now, such as that the cluster file is refused; "
                "omitted when there is nothing. Not part of OBShell's API"
            ),
        ]
    ]


class ErrorDto(TypedDict):
    """Why it was refused, and what to do next."""

    code: NotRequired[Annotated[int, Field(description="1 or 10008; left out when 0")]]
    errCode: str
    message: str


class Contents(TypedDict, Generic[_T]):
    """A list."""

    contents: list[_T]


class Page(TypedDict, Generic[_T]):
    """A part of a list."""

    contents: list[_T]
    next_cursor: Annotated[str | None, Field(description="of the next page; null on the last")]


@with_config(ConfigDict(json_schema_extra={"examples": [{"ip": "10.10.10.1", "port": 2886}]}))
class AgentDto(TypedDict):
    """Where an agent, or a server, is known to be."""

    ip: str
    port: int
