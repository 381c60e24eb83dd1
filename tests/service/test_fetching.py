"""Addresses: which are fetched, from where, and that nothing else is even connected to."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Sequence

import httpx
import pytest

from deixis.errors import AddressError, TooLargeError
from deixis.service.fetching import Fetcher, Target, is_public

PUBLIC = "93.184.215.14"


class Net:
    """Names, and servers that note who is connected to."""

    def __init__(self, names: dict[str, list[list[str]]], answers: dict[str, httpx.Response] | None = None) -> None:
        self.names, self.answers = names, answers or {}
        self.connected: list[tuple[str, str]] = []
        self.resolved: list[str] = []

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        self.resolved.append(host)
        answers = self.names.get(host, [[]])
        return answers.pop(0) if len(answers) > 1 else answers[0]  # a name may change

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.connected.append((request.url.host, request.headers["host"]))
        found = self.answers.get(request.url.path, httpx.Response(200, content=b"pixels"))

        async def body() -> AsyncIterator[bytes]:
            yield found.content

        return httpx.Response(found.status_code, headers=found.headers, content=body())

    def fetch(self, url: str, most: int = 1000, **settings: object) -> bytes:
        fetcher = Fetcher(resolve=self.resolve, transport=httpx.MockTransport(self), **settings)  # type: ignore[arg-type]
        return asyncio.run(fetcher.fetch(url, most))


def test_a_public_address_is_fetched_from_where_it_was_resolved_to() -> None:
    net = Net({"example.com": [[PUBLIC]]})
    assert net.fetch("https://example.com/a.png?b=c#d") == b"pixels"
    assert net.connected == [(PUBLIC, "example.com")]
    assert net.fetch(f"http://{PUBLIC}:8080/a.png") == b"pixels"
    assert net.connected[-1] == (PUBLIC, f"{PUBLIC}:8080")


def test_a_name_that_changes_leads_nowhere() -> None:
    net = Net({"rebind.example": [[PUBLIC], ["127.0.0.1"]]})
    assert net.fetch("http://rebind.example/a") == b"pixels"
    assert net.connected == [(PUBLIC, "rebind.example")]  # resolved once, and connected to what was checked
    with pytest.raises(AddressError, match="does not fetch from"):
        net.fetch("http://rebind.example/a")
    assert len(net.connected) == 1


def test_one_private_address_among_public_ones() -> None:
    net = Net({"mixed.example": [[PUBLIC, "10.0.0.1"]]})
    with pytest.raises(AddressError, match="does not fetch from"):
        net.fetch("http://mixed.example/")
    assert net.connected == []


REFUSED = [
    "http://127.0.0.1/", "http://127.1/", "http://2130706433/", "http://0x7f000001/", "http://0177.0.0.1/", "http://127.0.0.1./",
    "http://0x7f.1/", "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/", "http://[::127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/", "http://[fe80::1]/", "http://[fc00::1]/", "http://0.0.0.0/", "http://0/",
    "http://10.0.0.1/", "http://172.16.0.1/", "http://192.168.0.1/", "http://169.254.169.254/latest/", "http://100.64.0.1/",
    "http://224.0.0.1/", "http://240.0.0.1/", "http://255.255.255.255/", "http://localhost/", "http://localhost.:80/",
    "http://user:pass@example.com/", "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "/etc/passwd", "a.png",
    "http://", "http:///a", "http://exa mple.com/", "http://example.com\\@127.0.0.1/", "http://example.com\r\nHost: a/",
    "http://-bad.example/", "http://a..b/", "http://" + "a" * 300 + ".example/", "http://example.com/" + "a" * 5000,
    "http://①②⑦.0.0.1/", "http://1.2.3.4.5/", "http://1.2.3/", "http://4294967297/", "http://example.0x1/", "http://example.com:99999/",
]  # fmt: skip


@pytest.mark.parametrize("url", REFUSED)
def test_what_is_not_fetched(url: str) -> None:
    net = Net({"localhost": [["127.0.0.1"]], "example.com": [["127.0.0.1"]]})
    with pytest.raises(AddressError):
        net.fetch(url)
    assert net.connected == []


def redirect(to: str) -> httpx.Response:
    return httpx.Response(302, headers={"location": to})


@pytest.mark.parametrize(
    ("to", "match"),
    [
        ("http://127.0.0.1/secret", "does not fetch from"),
        ("http://inside.example/secret", "does not fetch from"),
        ("file:///etc/passwd", "expected http"),
        ("//169.254.169.254/latest", "does not fetch from"),
        ("http://2130706433/", "malformed"),
        ("/loop", "more than 3 times"),
    ],
)
def test_every_redirect_is_checked_again(to: str, match: str) -> None:
    net = Net({"example.com": [[PUBLIC]], "inside.example": [["192.168.1.1"]]}, {"/go": redirect(to), "/loop": redirect("/loop")})
    with pytest.raises(AddressError, match=match):
        net.fetch("http://example.com/go")
    assert {host for host, _ in net.connected} == {PUBLIC}


def test_a_redirect_that_may_be_followed() -> None:
    net = Net({"example.com": [[PUBLIC]], "other.example": [["1.1.1.1"]]}, {"/go": redirect("https://other.example/b")})
    assert net.fetch("http://example.com/go") == b"pixels"
    assert net.connected == [(PUBLIC, "example.com"), ("1.1.1.1", "other.example")]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(200, content=b"x" * 1001), TooLargeError),
        (httpx.Response(404, content=b"x"), AddressError),
        (httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"x")), AddressError),
        (httpx.Response(302), AddressError),
    ],
)
def test_answers_that_are_not_taken(answer: httpx.Response, error: type[Exception]) -> None:
    with pytest.raises(error):
        Net({"example.com": [[PUBLIC]]}, {"/a": answer}).fetch("http://example.com/a")


def test_what_the_owner_allows() -> None:
    net = Net({"inside.example": [["10.1.1.1"]], "example.com": [[PUBLIC]]})
    assert net.fetch("http://inside.example/", private=True) == b"pixels"
    with pytest.raises(AddressError, match="list"):
        net.fetch("http://example.com/", hosts=("other.example",))
    assert net.fetch("http://example.com/", hosts=("example.com",)) == b"pixels"
    with pytest.raises(AddressError, match="fetches no addresses"):
        net.fetch("http://example.com/", enabled=False)


def test_a_slow_address() -> None:
    async def slow(host: str, port: int) -> list[str]:
        await asyncio.sleep(5)
        return [PUBLIC]

    with pytest.raises(AddressError, match="within"):
        asyncio.run(Fetcher(resolve=slow, within_s=0.05).fetch("http://example.com/", 10))


@pytest.mark.parametrize(
    ("ip", "public"),
    [
        (PUBLIC, True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("::ffff:10.0.0.1", False),
        (f"::ffff:{PUBLIC}", False),  # never written so by a name's own server; the plain form is asked for
        ("2001:db8::1", False),
        ("ff02::1", False),
    ],
)
def test_public_addresses(ip: str, public: bool) -> None:
    assert is_public(ipaddress.ip_address(ip)) is public


def test_a_name_in_other_letters() -> None:
    assert Target.read("http://bücher.example/").host == "xn--bcher-kva.example"
