"""Pictures and videos by address, for strangers: nothing inside this network is reached unless the server's owner allows it.

Knows names, addresses and redirects. Does not know pictures. A name is resolved once, every address that it has must be allowed,
and the connection goes to the address that was checked: a name that changes in between leads nowhere. Every redirect is checked
again. Host names that end in a number are refused, so that no form of an IPv4 address (decimal, octal, hexadecimal, short) is
read in two ways.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from deixis.errors import AddressError, TooLargeError

if TYPE_CHECKING:
    import httpx

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

MAX_URL_CHARACTERS = 4_096
MAX_REDIRECTS = 3
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*", re.IGNORECASE)
_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*", re.IGNORECASE)
_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity"}  # nothing unfolds here
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


async def system_resolve(host: str, port: int) -> list[str]:
    """All addresses of a name, as the system knows them."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True)
class Fetcher:
    """Fetches what its settings allow. `hosts`, if any, are the only names. `resolve` and `transport` are for tests."""

    enabled: bool = True
    private: bool = False
    hosts: tuple[str, ...] = ()
    within_s: float = 15.0
    resolve: Resolve = system_resolve
    transport: httpx.AsyncBaseTransport | None = None

    async def fetch(self, url: str, max_bytes: int) -> bytes:
        """The bytes at an address. Raises AddressError for what is not fetched or does not answer, TooLargeError."""
        if not self.enabled:
            raise AddressError("this server fetches no addresses; send the bytes, as a data URI or an upload")
        try:
            async with asyncio.timeout(self.within_s):
                return await self._follow(url, max_bytes)
        except TimeoutError:
            raise AddressError(f"the address did not deliver within {self.within_s:g} s") from None

    async def _follow(self, url: str, max_bytes: int) -> bytes:
        import httpx

        # Not the environment's proxy: it would resolve names by itself.
        async with httpx.AsyncClient(transport=self.transport, trust_env=False, timeout=self.within_s) as client:
            for _ in range(MAX_REDIRECTS + 1):
                target = await self._checked(url)
                request = client.build_request("GET", target.pinned, headers=_HEADERS | {"Host": target.host_header})
                request.extensions["sni_hostname"] = target.host
                try:
                    response = await client.send(request, stream=True)
                    try:
                        if not response.has_redirect_location:
                            return await _body(response, max_bytes)
                        url = str(target.joined(response.headers.get("location", "")))
                    finally:
                        await response.aclose()
                except (httpx.HTTPError, httpx.InvalidURL) as error:
                    raise AddressError(f"the address did not answer ({type(error).__name__})") from None
        raise AddressError(f"the address leads on more than {MAX_REDIRECTS} times")

    async def _checked(self, url: str) -> Target:
        target = Target.read(url)
        if self.hosts and target.host not in self.hosts:
            raise AddressError("the address's host is not on this server's list")
        try:
            found = [target.host] if target.literal else await self.resolve(target.host, target.port)
        except (OSError, UnicodeError):
            found = []
        if not found:
            raise AddressError("the address's host is not known")
        addresses = [ipaddress.ip_address(one.partition("%")[0]) for one in found]
        if not self.private and not all(map(is_public, addresses)):
            raise AddressError("the address lies inside a network that this server does not fetch from")
        return target.at(addresses[0])


@dataclass(frozen=True)
class Target:
    """A parsed address, and where to connect for it."""

    scheme: Literal["http", "https"]
    host: str
    port: int
    path: str
    literal: bool
    ip: str = ""

    @classmethod
    def read(cls, url: str) -> Target:
        """Raises AddressError for anything but a plain http or https address."""
        import httpx

        if len(url) > MAX_URL_CHARACTERS or not url.isprintable() or "\\" in url or " " in url.strip():
            raise AddressError("the address is too long, or holds characters that addresses have not")
        try:
            parsed = httpx.URL(url.strip())
            host, port = parsed.host.lower().rstrip("."), parsed.port
        except (httpx.InvalidURL, ValueError, UnicodeError):
            raise AddressError("the address cannot be read") from None
        if parsed.scheme not in ("http", "https"):
            raise AddressError(f"an address {parsed.scheme or '(no scheme)'}:… is not fetched; expected http or https")
        if parsed.userinfo:
            raise AddressError("addresses with a name and a password are not fetched")
        literal = _literal(host)
        if not literal:
            try:
                host = host.encode("idna").decode("ascii") if not host.isascii() else host
            except UnicodeError:
                raise AddressError("the address's host is malformed") from None
            if not _NAME.fullmatch(host) or len(host) > 253 or _NUMBER.fullmatch(host.rpartition(".")[2]):
                raise AddressError("the address's host is malformed; write an IPv4 address as four decimal numbers")
        path = parsed.raw_path.decode("ascii")
        scheme: Literal["http", "https"] = "https" if parsed.scheme == "https" else "http"
        return cls(scheme, host, port or (443 if scheme == "https" else 80), path, literal)

    def at(self, ip: Address) -> Target:
        """The same, connected to there."""
        return Target(self.scheme, self.host, self.port, self.path, self.literal, str(ip))

    @property
    def pinned(self) -> str:
        """The address to connect to; the name travels in the Host header and in TLS."""
        ip = f"[{self.ip}]" if ":" in self.ip else self.ip
        return f"{self.scheme}://{ip}:{self.port}{self.path}"

    @property
    def host_header(self) -> str:
        """The name that was asked for."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"

    def joined(self, location: str) -> httpx.URL:
        """Where a redirect leads."""
        import httpx

        return httpx.URL(f"{self.scheme}://{self.host_header}{self.path}").join(location)


def is_public(ip: Address) -> bool:
    """Whether an address is one of the open Internet, also where IPv6 carries an IPv4 address."""
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
        if inner is None and int(ip) >> 32 == 0:  # ::a.b.c.d
            return False
        if inner is not None and not is_public(inner):
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def _body(response: httpx.Response, max_bytes: int) -> bytes:
    if response.status_code != 200:
        raise AddressError(f"the address answered {response.status_code}")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise AddressError("the address answers compressed, though it was asked not to")
    held = bytearray()
    async for piece in response.aiter_raw():
        held += piece
        if len(held) > max_bytes:
            raise TooLargeError(f"the address delivers more than {max_bytes} bytes")
    return bytes(held)
