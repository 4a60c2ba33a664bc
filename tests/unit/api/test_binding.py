"""Bodies and parameters are refused in the catalogue's words, in each language."""

from __future__ import annotations

import json
import re
from datetime import date
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from dagengine.api.app import OWN_TABLES
from dagengine.api.binding import Flag, bind, bind_query
from dagengine.api.handlers.lists import DagSearch
from dagengine.api.handlers.tasks import OperatorBody
from dagengine.api.handlers.tokens import TokenBody
from dagengine.errors import BindFailed, IllegalArgument
from dagengine.translation import Translator
from tasks.planning.start import StartRequest
from tasks.planning.stop import StopRequest

TRANSLATOR = Translator([OWN_TABLES])
NAME = {"name": "ci"}


class Plugin(BaseModel):
    """A body with types that the product's own bodies do not have."""

    model_config = ConfigDict(extra="forbid")

    rate: Annotated[float, Field(gt=0, lt=1)] = 0.5
    kind: Literal["one"] = "one"
    code: Annotated[str, Field(min_length=3)] = "abc"
    pair: Annotated[list[int], Field(min_length=2)] = [1, 2]
    day: date = date(2024, 1, 1)


def chinese(error: BindFailed | IllegalArgument) -> str:
    return TRANSLATOR.describe(error, accept_language="zh")


@pytest.mark.parametrize(
    ("model", "body", "english", "translated"),
    [
        (OperatorBody, {}, "operator: it is missing", "operator：缺少该值"),
        (OperatorBody, {"operator": 7}, "operator: it is not text", "operator：不是文本"),
        (OperatorBody, {"operator": ""}, "operator: it is empty", "operator：为空"),
        (
            OperatorBody,
            {"operator": "x" * 101},
            "operator: it has more than 100 characters",
            "operator：超过 100 个字符",
        ),
        (
            StartRequest,
            {"scope": 7},
            "scope: it is not a mapping of keys to values",
            "scope：不是键值映射",
        ),
        (
            StartRequest,
            {"scope": {"type": "ZONE", "target": "z"}},
            "scope.target: it is not a list",
            "scope.target：不是列表",
        ),
        (
            StartRequest,
            {"skipChecks": ["c"] * 101},
            "skipChecks: it has more than 100 items",
            "skipChecks：超过 100 项",
        ),
        (
            StopRequest,
            {"force": "x"},
            "force: it is neither true nor false",
            "force：既不是 true 也不是 false",
        ),
        (
            TokenBody,
            {"name": "a b"},
            "name: it does not match ^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$",
            "name：不匹配 ^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$",
        ),
        (
            TokenBody,
            NAME | {"rights": "all"},
            "rights: it is not 'read' or 'act'",
            "rights：不是 'read' 或 'act'",
        ),
        (
            TokenBody,
            NAME | {"expires_s": "1"},
            "expires_s: it is not a whole number",
            "expires_s：不是整数",
        ),
        (
            TokenBody,
            NAME | {"expires_s": 0},
            "expires_s: it must be at least 1",
            "expires_s：必须至少为 1",
        ),
        (Plugin, {"rate": "x"}, "rate: it is not a number", "rate：不是数字"),
        (Plugin, {"rate": 0}, "rate: it must be more than 0.0", "rate：必须大于 0.0"),
        (Plugin, {"rate": 1}, "rate: it must be less than 1.0", "rate：必须小于 1.0"),
        (Plugin, {"kind": "two"}, "kind: it is not 'one'", "kind：不是 'one'"),
        (Plugin, {"code": "a"}, "code: it has fewer than 3 characters", "code：少于 3 个字符"),
        (Plugin, {"pair": [1]}, "pair: it has fewer than 2 items", "pair：少于 2 项"),
        (Plugin, {"other": 1}, "other: it is not known", "other：未知的名称"),
        (Plugin, {"day": "soon"}, "day: it is not valid", "day：该值无效"),
    ],
)
def test_bind_invalid_value_is_explained_in_both_languages(
    model: type[BaseModel], body: dict[str, Any], english: str, translated: str
) -> None:
    with pytest.raises(BindFailed) as caught:
        bind(json.dumps(body).encode(), model)
    assert str(caught.value) == f"Bind JSON failed: {english}"
    assert chinese(caught.value) == f"JSON 解析失败：{translated}"


@pytest.mark.parametrize(
    ("body", "english", "translated"),
    [
        (b'{"a": ', "it ends too early, at line 1 column 6", "内容不完整，在第 1 行第 6 列结束"),
        (b"{}\n{}", "more follows after its end, at line 2 column 1", "结束之后还有内容"),
        (b"[" * 5000, "its values are nested too deeply, at line 1 column 202", "嵌套过深"),
        (b'{"a": NaN}', "it has an error at line 1 column 7", "第 1 行第 7 列有错误"),
        (b'"\\ud800"', "it has an error at line 1 column 8", "第 1 行第 8 列有错误"),
        (b"\xff", "it has an error at line 1 column 1", "第 1 行第 1 列有错误"),
    ],
)
def test_bind_invalid_json_is_explained_in_both_languages(
    body: bytes, english: str, translated: str
) -> None:
    with pytest.raises(BindFailed) as caught:
        bind(body, OperatorBody)
    assert str(caught.value) == f"Bind JSON failed: the body is not JSON: {english}"
    text = chinese(caught.value)
    assert text.startswith(f"JSON 解析失败：请求体不是 JSON：{translated}")
    assert re.findall("[A-Za-z]+", text) == ["JSON", "JSON"]


class Flags(BaseModel):
    """A query with a flag."""

    now: Flag = False


@pytest.mark.parametrize(
    ("model", "query", "english", "translated"),
    [
        (DagSearch, {"limit": "x"}, "'limit' is illegal: it is not a whole number", "不是整数"),
        (DagSearch, {"limit": "0"}, "'limit' is illegal: it must be at least 1", "必须至少为 1"),
        (
            DagSearch,
            {"limit": "1001"},
            "'limit' is illegal: it must be at most 1000",
            "必须至多为 1000",
        ),
        (
            DagSearch,
            {"state": "DONE"},
            "'state' is illegal: it is not 'READY', 'RUNNING', 'FAILED' or 'SUCCEED'",
            "不是 'READY', 'RUNNING', 'FAILED' 或 'SUCCEED'",
        ),
        (
            Flags,
            {"now": "maybe"},
            "'now' is illegal: 'maybe' is neither true nor false",
            "'maybe' 既不是 true 也不是 false",
        ),
    ],
)
def test_bind_query_invalid_value_is_explained_in_both_languages(
    model: type[BaseModel], query: dict[str, str], english: str, translated: str
) -> None:
    with pytest.raises(IllegalArgument) as caught:
        bind_query(query, model)
    assert str(caught.value) == f"The input parameter {english}"
    assert chinese(caught.value).startswith(f"输入参数 '{next(iter(query))}' 非法：")
    assert chinese(caught.value).endswith(translated)
