import inspect
import pickle

import pytest

from deixis import errors
from deixis.errors import DeixisError, InputError

# exit code and HTTP status of every class in the tree
EXPECTED = {
    "DeixisError": (1, 500),
    "InputError": (2, 400),
    "PictureError": (2, 400),
    "VideoError": (2, 400),
    "QuestionError": (2, 400),
    "CameraError": (2, 400),
    "GeometryError": (2, 400),
    "OptionError": (2, 400),
    "SchemaError": (2, 400),
    "ModelNotFoundError": (2, 404),
    "CheckpointError": (2, 422),
    "BodyError": (2, 400),
    "AddressError": (2, 400),
    "KeyMissingError": (2, 401),
    "ForbiddenError": (2, 403),
    "NotFoundError": (2, 404),
    "ConflictError": (2, 409),
    "TooLargeError": (2, 413),
    "BackendError": (1, 502),
    "EngineError": (1, 500),
    "DeadlineError": (1, 504),
    "OverloadError": (1, 503),
    "RateError": (1, 429),
    "EngineLostError": (1, 503),
}


def test_the_table_above_names_every_error() -> None:
    assert set(EXPECTED) == set(errors.__all__)
    defined = {name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)}
    assert defined == set(EXPECTED)


@pytest.mark.parametrize(("name", "codes"), EXPECTED.items())
def test_codes_and_parents(name: str, codes: tuple[int, int]) -> None:
    kind = getattr(errors, name)
    assert (kind.exit_code, kind.http_status) == codes
    assert issubclass(kind, DeixisError)
    assert issubclass(kind, InputError) is (codes[0] == 2)


@pytest.mark.parametrize(("name", "codes"), EXPECTED.items())
def test_the_drawing_in_the_docstring_is_true(name: str, codes: tuple[int, int]) -> None:
    assert errors.__doc__ is not None
    line = next(line for line in errors.__doc__.splitlines() if line.lstrip("│├└─ ").startswith(name + " "))
    assert f"exit {codes[0]}, HTTP {codes[1]}" in line


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("cup\nnot found", "cup not found"),
        ("a\tb\r\nc", "a b  c"),
        ("file \x1b[31mred\x1b[0m.png", "file  [31mred [0m.png"),
        ("图片 “desk”×2 不存在", "图片 “desk”×2 不存在"),
        ("left\u202eright", "left right"),
        ("  kept  ", "kept"),
    ],
)
def test_a_message_is_one_printable_line(message: str, line: str) -> None:
    shown = str(DeixisError(message))
    assert shown == line
    assert all(c.isprintable() for c in shown)


def test_errors_survive_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(errors.CheckpointError("tensor is missing")))
    assert type(error) is errors.CheckpointError
    assert str(error) == "tensor is missing"
