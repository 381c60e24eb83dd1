"""API keys: kept as hashes, compared in constant time.

Knows hashes. Does not know requests. The plain keys are forgotten once the server has started.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable

from deixis.errors import KeyMissingError, OptionError

_HASHED = re.compile(r"sha256:([0-9a-f]{64})")
LEAST_CHARACTERS = 16


class Keys:
    """The keys that are let in; with none, everybody is. Raises OptionError for a key that could be guessed."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = tuple(_digest_of(key) for key in keys)

    def __bool__(self) -> bool:
        return bool(self._digests)

    def caller(self, authorization: str) -> str:
        """A short name for whose key it is, from the header `Authorization: Bearer …`; "" where no key is needed.

        Raises KeyMissingError. A key's name is a piece of its hash, which tells nothing of the key.
        """
        if not self._digests:
            return ""
        scheme, _, key = authorization.partition(" ")
        digest = hashlib.sha256(key.strip().encode()).digest()
        found = [hmac.compare_digest(digest, known) for known in self._digests]  # all of them, always
        if scheme.lower() != "bearer" or not any(found):
            raise KeyMissingError("an API key is needed; send the header Authorization: Bearer <key>")
        return digest.hex()[:8]


def hashed(key: str) -> str:
    """A key as the settings may hold it."""
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def _digest_of(key: str) -> bytes:
    if found := _HASHED.fullmatch(key):
        return bytes.fromhex(found[1])
    if len(key) < LEAST_CHARACTERS:
        raise OptionError(f"an API key has {len(key)} characters; expected {LEAST_CHARACTERS} or more, or sha256:<64 hex digits>")
    return hashlib.sha256(key.encode()).digest()
