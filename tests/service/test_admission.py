"""Places, bytes, rates and keys."""

import pytest

from deixis.errors import DeixisError, KeyMissingError, OptionError, OverloadError, RateError
from deixis.service.admission import Admission
from deixis.service.keys import Keys, hashed
from deixis.service.settings import read_settings


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_places_are_given_back_once_whatever_happens() -> None:
    admission = Admission(2, 100)
    with admission.place("a"):
        with pytest.raises(ZeroDivisionError), admission.place("b"):
            1 / 0  # noqa: B018
        assert admission.taken == 1
        with admission.place("b"):
            with pytest.raises(OverloadError, match="all 2 places") as refused, admission.place("c"):
                pass
            assert refused.value.retry_after_s >= 1
    assert (admission.taken, admission.accepted, admission.ended) == (0, 3, 3)


def test_no_place_while_draining() -> None:
    admission = Admission(2, 100)
    admission.draining = True
    with pytest.raises(OverloadError, match="being ended"), admission.place("a"):
        pass
    assert admission.accepted == 0


def test_bodies_together_are_bounded() -> None:
    admission = Admission(2, 100)
    with admission.body() as came:
        came(60)
        with admission.body() as other, pytest.raises(OverloadError, match="too many bytes"):
            other(41)
        came(40)
    assert admission.bytes_taken == 0


def test_a_callers_rate_fills_up_evenly() -> None:
    clock = Clock()
    admission = Admission(10, 100, per_minute=2, clock=clock)

    waits: list[float] = []

    def asks(caller: str) -> bool:
        try:
            with admission.place(caller):
                return True
        except RateError as error:
            waits.append(error.retry_after_s)
            return False

    assert [asks("a"), asks("a"), asks("a"), asks("b")] == [True, True, False, True]
    clock.now += 29
    assert not asks("a")
    clock.now += 2
    assert asks("a") and not asks("a")
    assert waits == pytest.approx([30, 1, 29])


PLAIN = "a-key-of-some-length"


@pytest.mark.parametrize("key", [PLAIN, hashed(PLAIN)])
def test_keys_plain_or_hashed(key: str) -> None:
    keys = Keys([hashed("another"), key])
    assert keys and PLAIN not in repr(vars(keys))
    assert keys.caller(f"Bearer {PLAIN}") == keys.caller(f"bearer  {PLAIN} ") != ""
    for wrong in ("", PLAIN, f"Basic {PLAIN}", f"Bearer {PLAIN}x", f"Bearer {hashed(PLAIN)}", "Bearer "):
        with pytest.raises(KeyMissingError) as refused:
            keys.caller(wrong)
        assert PLAIN not in str(refused.value)


def test_without_keys_everybody_is_let_in() -> None:
    assert not Keys([]) and Keys([]).caller("") == ""


def test_a_key_that_could_be_guessed() -> None:
    with pytest.raises(OptionError, match="16 or more") as refused:
        Keys(["secret"])
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"host": "0.0.0.0"}, "no API key"),
        ({"host": "example.com"}, "no API key"),
        ({"host": "::"}, "no API key"),
        ({"port": 70_000}, "port"),
        ({"slots": 0}, "slots"),
        ({"models": ()}, "models"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_settings_that_do_not_fit(given: dict, match: str) -> None:
    with pytest.raises(OptionError, match=match) as refused:
        read_settings(**given)
    assert "\n" not in str(refused.value)


def test_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEIXIS_MODELS", "nano,big=Qwen/Qwen3-VL-2B-Instruct")
    monkeypatch.setenv("DEIXIS_API_KEYS", f'["{PLAIN}"]')
    monkeypatch.setenv("DEIXIS_HOST", "0.0.0.0")
    monkeypatch.setenv("DEIXIS_QUEUE", "3")
    settings = read_settings(port=0)
    assert settings.models == ("nano", "big=Qwen/Qwen3-VL-2B-Instruct") and settings.queue == 3
    assert settings.api_keys == (PLAIN,) and not settings.on_loopback
    monkeypatch.setenv("DEIXIS_API_KEYS", "")
    with pytest.raises(DeixisError, match="no API key"):
        read_settings()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost"])
def test_loopback_needs_no_key(host: str) -> None:
    assert read_settings(host=host).on_loopback
