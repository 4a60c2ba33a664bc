"""The headers Host and Origin: requests of foreign web pages are refused."""

from __future__ import annotations

import pytest

from dagengine.security.errors import HostNotAllowed, OriginNotAllowed
from dagengine.security.request_origin import OriginPolicy

OWN = OriginPolicy.create(["dag.example.com", "Proxy.Example.Com."], ("192.0.2.10", 2886))
API = "127.0.0.1:2886"


def is_host_allowed(
    *hosts: str, needs_host: bool = True, is_local: bool = False, is_page: bool = False
) -> bool:
    try:
        OWN.check(hosts, [], is_local=is_local, needs_host=needs_host, is_page=is_page)
    except HostNotAllowed:
        return False
    return True


def is_origin_allowed(*origins: str, host: str = API, is_local: bool = False) -> bool:
    try:
        OWN.check([host], origins, is_local=is_local, needs_host=True)
    except OriginNotAllowed:
        return False
    return True


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.0.0.1:2886", "192.0.2.10:2886", "198.51.100.7:1", "0.0.0.0"),
        *("[::1]", "[::1]:2886", "[2001:DB8::1]:2886", "[::ffff:127.0.0.1]"),
        *("localhost", "localhost:2886", "LocalHost:80", "localhost."),
        *("dag.example.com", "DAG.example.com:443", "dag.example.com.", "proxy.example.com"),
    ],
)
def test_origin_policy_own_host_is_accepted(host: str) -> None:
    assert is_host_allowed(host)


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:2886", "127.0.0.1.evil.example", "localhost.evil.example"),
        *("evil.localhost", "xdag.example.com", "dag.example.com.evil.example", "example.com"),
        *("", " ", ":2886", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:999999", "[::1", "::1"),
        *("2130706433", "0x7f.1", "127.1", "0177.0.0.1", "[::1]x", "[dag.example.com]"),
        *("user@127.0.0.1", "127.0.0.1@evil.example", "127.0.0.1/evil", "127.0.0.1,evil.example"),
        *("127.0.0.1 evil.example", "\uff4cocalhost", "localhost\\@evil.example", "localhost.."),
    ],
)
def test_origin_policy_foreign_host_is_refused(host: str) -> None:
    assert not is_host_allowed(host)
    assert not is_host_allowed(host, needs_host=False)
    assert not is_host_allowed(host, is_local=True, is_page=True)


@pytest.mark.parametrize(
    "host", ["unix", "d", "", "socket:80", "/run/api.sock", "127.0.0.1", "x_y"]
)
def test_origin_policy_programs_at_socket_send_any_host(host: str) -> None:
    assert is_host_allowed(host, is_local=True)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8886", "xdag.example.com", "a.b."])
def test_origin_policy_name_of_page_at_socket_is_refused(host: str) -> None:
    """`ssh -L` gives a browser's page access to the socket, under the page's own name."""
    assert not is_host_allowed(host, is_local=True)
    assert is_host_allowed("dag.example.com", is_local=True)


@pytest.mark.parametrize("host", ["unix", "d", "", "socket:80", "evil.example"])
def test_origin_policy_page_at_socket_needs_own_host(host: str) -> None:
    assert not is_host_allowed(host, is_local=True, is_page=True)
    assert is_host_allowed("localhost:8886", is_local=True, is_page=True)
    assert is_host_allowed("127.0.0.1:8886", is_local=True, is_page=True)


def test_origin_policy_host_must_occur_once() -> None:
    assert not is_host_allowed()
    assert is_host_allowed(needs_host=False)
    assert not is_host_allowed(API, API)
    assert not is_host_allowed(API, "evil.example", needs_host=False)


def test_origin_policy_without_names_accepts_addresses_only() -> None:
    OriginPolicy().check([API], [], is_local=False, needs_host=True)
    with pytest.raises(HostNotAllowed, match=r"dag\.example\.com.*allowed_hosts"):
        OriginPolicy().check(["dag.example.com"], [], is_local=False, needs_host=True)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://127.0.0.1:2886", API),
        ("https://127.0.0.1:2886", API),
        ("http://LOCALHOST:2886", "localhost:2886"),
        ("http://[::1]:2886", "[::1]:2886"),
        ("http://localhost", "localhost:80"),
        ("https://dag.example.com", "dag.example.com:443"),
        ("https://dag.example.com", API),  # behind a proxy
        ("https://dag.example.com:8443", API),
        ("http://192.0.2.10:2886", API),
    ],
)
@pytest.mark.parametrize("is_local", [False, True])
def test_origin_policy_own_origin_is_accepted(origin: str, host: str, is_local: bool) -> None:
    assert is_origin_allowed(origin, host=host, is_local=is_local)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://evil.example", API),
        ("http://127.0.0.1:3000", API),  # another server of this machine
        ("http://localhost:2886", API),
        ("http://192.168.1.1", API),  # an address, but not the one that was called
        ("http://192.0.2.10:80", API),
        ("http://127.0.0.1", API),
        ("null", API),
        ("", API),
        ("file://127.0.0.1:2886", API),
        ("chrome-extension://abcdef", API),
        ("http://127.0.0.1:2886/", API),
        ("http://127.0.0.1:2886 http://evil.example", API),
        ("http://127.0.0.1:2886@evil.example", API),
        ("127.0.0.1:2886", API),
    ],
)
@pytest.mark.parametrize("is_local", [False, True])
def test_origin_policy_foreign_origin_is_refused(origin: str, host: str, is_local: bool) -> None:
    assert not is_origin_allowed(origin, host=host, is_local=is_local)


def test_origin_policy_rebound_name_at_socket_is_refused() -> None:
    """A proxy in front of the socket may pass on the Host of the page."""
    assert not is_origin_allowed("http://evil", host="evil", is_local=True)


def test_origin_policy_several_origins_are_refused() -> None:
    assert not is_origin_allowed(f"http://{API}", "http://evil.example")
    assert not is_origin_allowed(f"http://{API}", f"http://{API}")


def test_origin_policy_error_shows_part_of_long_value() -> None:
    with pytest.raises(HostNotAllowed) as caught:
        OWN.check(["x" * 100_000], [], is_local=False, needs_host=True)
    assert len(str(caught.value)) < 1000
