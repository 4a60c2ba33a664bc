"""The servers that a request selects: protocol 3.1 as one table."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from dagengine.errors import ApiError
from tasks.cluster.scope import parse_address, resolve_scope


@dataclass(frozen=True)
class Server:
    ip: str
    zone: str
    agent_port: int = 2886

    @property
    def name(self) -> str:
        ip = f"[{self.ip}]" if ":" in self.ip else self.ip
        return f"{ip}:{self.agent_port}"


A = Server("10.0.0.1", "zone1")
B = Server("10.0.0.2", "zone2")
B2 = Server("10.0.0.2", "zone2", 2887)
V6 = Server("fe80::1", "Zone3")
CLUSTER = (A, B, B2, V6)
ALL = [server.name for server in CLUSTER]

SCOPE = "OB.Cluster.Scope.Invalid"
ARGUMENT = "Common.IllegalArgument"
ZONE = "OB.Zone.NotExist"
SERVER = "Agent.NotExist"
ADDRESS = "Common.InvalidAddress"
PORT = "Common.InvalidPort"
IP = "Common.InvalidIp"


@pytest.mark.parametrize(
    ("kind", "targets", "expected"),
    [
        ("GLOBAL", [], ALL),
        ("global", [], ALL),
        ("GlObAl", ["no such zone", ""], ALL),
        ("ZONE", ["zone1"], [A.name]),
        ("zone", ["zone2"], [B.name, B2.name]),
        ("Zone", ["zone2", "zone1"], [A.name, B.name, B2.name]),
        ("ZONE", ["zone1", "zone1"], [A.name]),
        ("ZONE", ["Zone3"], [V6.name]),
        ("SERVER", ["10.0.0.1:2886"], [A.name]),
        ("server", ["10.0.0.1"], [A.name]),
        ("SERVER", ["10.0.0.2"], [B.name]),
        ("SERVER", ["10.0.0.2:2887"], [B2.name]),
        ("SERVER", ["10.0.0.2:2887", "10.0.0.1:2886"], [A.name, B2.name]),
        ("SERVER", ["10.0.0.1", "10.0.0.1:2886", "10.0.0.1"], [A.name]),
        ("SERVER", ["fe80::1"], [V6.name]),
        ("SERVER", ["[fe80::1]"], [V6.name]),
        ("SERVER", ["[fe80::1]:2886", "fe80::1"], [V6.name]),
    ],
)
def test_resolve_scope_keeps_order_of_cluster(
    kind: str, targets: list[str], expected: list[str]
) -> None:
    assert list(resolve_scope(CLUSTER, kind, targets)) == expected


@pytest.mark.parametrize(
    ("kind", "targets", "code", "named"),
    [
        # the type is checked first
        ("", [], SCOPE, "''"),
        ("", ["zone1"], SCOPE, "''"),
        ("cluster", ["zone1"], SCOPE, "'CLUSTER'"),
        (" GLOBAL", [], SCOPE, "' GLOBAL'"),
        # then the presence of targets
        ("ZONE", [], ARGUMENT, "target is empty"),
        ("server", [], ARGUMENT, "target is empty"),
        # zones are matched exactly, with case
        ("ZONE", ["zone9"], ZONE, "'zone9'"),
        ("ZONE", ["ZONE1"], ZONE, "'ZONE1'"),
        ("ZONE", ["zone1 "], ZONE, "'zone1 '"),
        ("ZONE", [""], ZONE, "''"),
        ("ZONE", ["zone1", "x", "y"], ZONE, "'x'"),
        # servers: the error names the first invalid target as the request spelled it
        ("SERVER", ["10.0.0.9:2886"], SERVER, "'10.0.0.9:2886'"),
        ("SERVER", ["10.0.0.1:2887"], SERVER, "'10.0.0.1:2887'"),
        ("SERVER", ["10.0.0.1", "10.0.0.8", "::"], SERVER, "'10.0.0.8'"),
        ("SERVER", ["::", "10.0.0.8"], SERVER, "'::'"),
        ("SERVER", ["10.0.0.1", "", "10.0.0.8"], ADDRESS, "''"),
        ("SERVER", ["a.b"], SERVER, "'a.b'"),
        # addresses are compared as text
        ("SERVER", ["[FE80::1]:2886"], SERVER, "'[FE80::1]:2886'"),
        ("SERVER", ["fe80:0::1"], SERVER, "'fe80:0::1'"),
        ("SERVER", ["fe80::1:2886"], SERVER, "'fe80::1:2886'"),
        ("SERVER", ["[fe80::1]:2887"], SERVER, "'[fe80::1]:2887'"),
    ],
)
def test_resolve_scope_first_error_is_named(
    kind: str, targets: list[str], code: str, named: str
) -> None:
    with pytest.raises(ApiError) as caught:
        resolve_scope(CLUSTER, kind, targets)
    assert (caught.value.err_code, caught.value.http_status) == (code, 400)
    assert named in caught.value.message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # with a dot and without a colon: the ip is not validated
        ("10.0.0.1", ("10.0.0.1", 2886)),
        ("a.b", ("a.b", 2886)),
        (".", (".", 2886)),
        ("999.1.1.1", ("999.1.1.1", 2886)),
        # with a dot and a colon
        ("10.0.0.1:1025", ("10.0.0.1", 1025)),
        ("10.0.0.1:65535", ("10.0.0.1", 65535)),
        # without a dot: the first run of hex digits and colons is the address
        ("fe80::1", ("fe80::1", 2886)),
        ("FE80::1", ("FE80::1", 2886)),
        ("[fe80::1]", ("fe80::1", 2886)),
        ("[fe80::1]:1025", ("fe80::1", 1025)),
        ("[fe80::1]:65535", ("fe80::1", 65535)),
        ("::1:2886", ("::1:2886", 2886)),
        ("zz[::1]", ("::1", 2886)),
        ("fe80::1%eth0", ("fe80::1", 2886)),
        ("::", ("::", 2886)),
    ],
)
def test_parse_address_accepts_same_forms_as_original(text: str, expected: tuple[str, int]) -> None:
    assert parse_address(text) == expected


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", ADDRESS),
        ("host", ADDRESS),
        ("[]", ADDRESS),
        ("::ffff:1.2.3.4", ADDRESS),
        ("1.2.3.4:5:6", ADDRESS),
        # the port is checked before the ip
        ("a.b:80", PORT),
        ("a.b:2886", IP),
        ("10.0.0.1:", PORT),
        ("10.0.0.1:0", PORT),
        ("10.0.0.1:1024", PORT),
        ("10.0.0.1:65536", PORT),
        ("10.0.0.1:-2886", PORT),
        ("10.0.0.1:2886x", PORT),
        ("10.0.0.1: 2886", PORT),
        ("10.0.0.1:٢٨٨٦", PORT),
        pytest.param("10.0.0.1:" + "9" * 5000, PORT, id="5000 digits"),
        ("[fe80::1]:", PORT),
        ("[fe80::1]:1024", PORT),
        ("[fe80::1]:65536", PORT),
        ("[fe80::1]:x", PORT),
        ("1.2.3:2886", IP),
        ("1.2.3.256:2886", IP),
        ("zone1", IP),
        ("2886", IP),
        ("1:2:3", IP),
        ("[fe80::1::2]:2886", IP),
    ],
)
def test_parse_address_invalid_part_gives_error_code(text: str, code: str) -> None:
    with pytest.raises(ApiError) as caught:
        parse_address(text)
    assert (caught.value.err_code, caught.value.http_status) == (code, 400)


def test_resolve_scope_unknown_name_lists_known_names() -> None:
    with pytest.raises(ApiError, match="Zone3, zone1, zone2"):
        resolve_scope(CLUSTER, "ZONE", ["nope"])
    with pytest.raises(ApiError, match=r"10\.0\.0\.1:2886, 10\.0\.0\.2:2886"):
        resolve_scope(CLUSTER, "SERVER", ["10.0.0.9"])


def test_parse_address_zone_name_error_names_hex_run() -> None:
    with pytest.raises(ApiError, match="'e1' is not a valid IP address"):
        parse_address("zone1")


@pytest.mark.parametrize(
    "text", ["foo", "zone1", "", "host", "10.0.0.1:", "10.0.0.1:x", "a.b:2886"]
)
def test_resolve_scope_invalid_address_has_remedy(text: str) -> None:
    with pytest.raises(ApiError) as caught:
        resolve_scope((A, B), "SERVER", [text])
    assert caught.value.remedy == (
        f"write IP:PORT instead of {text!r}; the cluster has 10.0.0.1:2886, 10.0.0.2:2886"
    )
