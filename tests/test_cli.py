"""The commands as users meet them: what they print, what they write, and how they refuse."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from safetensors.numpy import load_file, save_file

import deixis.spatial.deixis
from deixis.backends import FakeBackend, ModelCard, catalog, registry
from deixis.backends.catalog import weights_identity
from deixis.cli import commands, lazy, run
from deixis.spatial.grounding import canary
from tests.engine.checkpoints import write_checkpoint
from tests.model import tiny

NANO = ModelCard("nano", "named by the caller", virtual_focal=1.0, knows="rendered worlds")
OBJECTS = (
    '```json\n[\n\t{"bbox_2d": [100, 200, 300, 400], "label": "[red] cup"},\n\t'
    '{"bbox_2d": [500, 200, 700, 400], "label": "book"}\n]\n```'
)
BOXES_3D = OBJECTS.replace("bbox_2d", "bbox_3d").replace("100, 200, 300, 400", "-0.3, -0.12, 1, 0.2, 0.2, 0.2, 0, 0, 0")
SCRIPT = {
    "Report 3D": BOXES_3D.replace("500, 200, 700, 400", "0.2, -0.3, 2, 0.4, 0.4, 0.2, 0, 0, 0"),
    "bbox": OBJECTS,
    "dog": "[]",
    "Locate every instance of: dog": "```json\n[]\n```",
    "": "Yes",
    "请用一个词": "是",
}


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "desk.png"
    Image.fromarray(tiny.photo(480, 640, 1)).save(path)
    return path


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeBackend:
    """The model that every name resolves to."""
    backend = FakeBackend(SCRIPT, card=NANO)
    monkeypatch.setattr(deixis.spatial.deixis, "resolve_model", lambda _: backend)
    return backend


@pytest.fixture
def empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No checkpoint anywhere, nothing configured."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no-hf"))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "no-ms"))
    monkeypatch.delenv("DEIXIS_MODEL", raising=False)
    for module in (catalog, registry):
        monkeypatch.setattr(module, "nano_directory", lambda: tmp_path / "no-nano")


# --- answering ---------------------------------------------------------------------------------------------------------


def test_ask_for_people(picture: Path, fake: FakeBackend, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ask", str(picture), "Is the red cup left of the book?"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    words = [
        "Yes",
        "likely",
        "[red] cup is left of book",
        "✓",
        "64 96 192 192",
        "assumed",
        "nano",
        "rendered worlds",
        "total",
    ]
    for word in words:
        assert word in out


def test_ask_in_chinese(picture: Path, fake: FakeBackend, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ask", str(picture), "杯子在书的左边吗?"]) == 0
    out = capsys.readouterr().out
    for word in ("是", "论断", "几何", "相机", "假设", "模型", "用时", "取证", "由您指定", "倍宽度", "只认识渲染的场景"):
        assert word in out
    assert not {"camera", "yes", "widths", "knows"} & set(out.replace("(", " ").split())


def test_ask_json(picture: Path, fake: FakeBackend, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ask", str(picture), "Is the red cup in front of the book?", "--json", "--camera", "640,640,320,240"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["verdict"] == "yes"
    assert row["camera"]["source"] == "user"
    assert row["objects"][0]["depth_m"] == 1.0
    assert next(iter(row["timings_ms"])) == "load"


def test_locate(picture: Path, fake: FakeBackend, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["locate", str(picture), "cups and books"]) == 0
    assert "2 found" in capsys.readouterr().out
    assert run(["locate", str(picture), "cups", "--3d", "--json", "--camera", "640,640,320,240"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert [item["depth_m"] for item in row["objects"]] == [1.0, 2.0]
    assert row["camera"]["fx"] == 640


def test_absent_is_an_answer(picture: Path, fake: FakeBackend, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["locate", str(picture), "dog"]) == 0
    assert "absent" in capsys.readouterr().out
    assert run(["locate", str(picture), "dog", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["objects"], row["absent"]) == ([], True)


def test_save(picture: Path, fake: FakeBackend, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["ask", str(picture), "Is the cup left of the book?"], ["locate", str(picture), "cups"]):
        target = picture.parent / f"{command[0]}.png"
        assert run([*command, "--save", str(target)]) == 0
        assert str(target) in capsys.readouterr().out.replace("\n", "")
        with Image.open(target) as image:
            assert image.width == 640
    assert sorted(path.name for path in picture.parent.iterdir()) == ["ask.png", "desk.png", "locate.png"]


def test_a_real_checkpoint_end_to_end(
    picture: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    directory = write_checkpoint(tmp_path_factory.mktemp("weights"), card={"name": "noise", "knows": "nothing"})
    # Noise points at nothing, which would be found out: here it is said to have been measured.
    monkeypatch.setitem(canary._MEASURED, weights_identity(directory), canary.TAKEN_FOR_GRANTED)
    assert run(["ask", str(picture), "Is the cup left of the book?", "--model", str(directory), "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["model"] == directory.name
    assert row["note"]


# --- refusing ----------------------------------------------------------------------------------------------------------


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"\0")
    chunks = (struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in (head, data))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def cut_jpeg(folder: Path) -> str:
    path = folder / "cut.jpg"
    Image.fromarray(tiny.photo(200, 300, 1)).save(path)
    path.write_bytes(path.read_bytes()[:2_000])
    return str(path)


def written(name: str, content: bytes) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        (folder / name).write_bytes(content)
        return str(folder / name)

    return write


def one_pixel(folder: Path) -> str:
    Image.new("RGB", (1, 1)).save(folder / "dot.png")
    return str(folder / "dot.png")


def good(folder: Path) -> str:
    return str(folder / "desk.png")


def without_weights(folder: Path) -> str:
    directory = write_checkpoint(folder / "empty")
    for path in directory.glob("*.safetensors*"):
        path.unlink()
    return str(directory)


def without_a_tensor(folder: Path) -> str:
    directory = write_checkpoint(folder / "lossy")
    shard = sorted(directory.glob("*.safetensors"))[0]
    tensors = load_file(shard)
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, shard, metadata={"format": "pt"})
    return str(directory)


def plain_folder(folder: Path) -> str:
    (folder / "folder").mkdir()
    return str(folder / "folder")


# name: (picture, question, model, more options, type of error, words that must be said)
Maker = Callable[[Path], str]
BAD: dict[str, tuple[Maker, str, str | Maker, list[str], str, str]] = {
    "missing file": (lambda folder: str(folder / "no.png"), "Where?", "nano", [], "PictureError", "does not exist"),
    "a directory": (plain_folder, "Where?", "nano", [], "PictureError", "directory"),
    "text named .png": (written("t.png", b"hello"), "Where?", "nano", [], "PictureError", "not a picture"),
    "empty file": (written("e.png", b""), "Where?", "nano", [], "PictureError", "empty"),
    "truncated JPEG": (cut_jpeg, "Where?", "nano", [], "PictureError", "cut.jpg"),
    "huge PNG header": (written("h.png", png_header(40_000, 40_000)), "Where?", "nano", [], "PictureError", "megapixels"),
    "1x1 picture": (one_pixel, "Where?", "nano", [], "PictureError", "1×1"),
    "empty question": (good, "", "nano", [], "QuestionError", "empty"),
    "blank question": (good, " \n", "nano", [], "QuestionError", "empty"),
    "endless question": (good, "where " * 1_000, "nano", [], "QuestionError", "2000"),
    "unknown model": (good, "Where?", "gpt-9", [], "ModelNotFoundError", "gpt-9"),
    "model not pulled": (good, "Where?", "Qwen/Qwen3-VL-2B-Instruct", [], "ModelNotFoundError", "deixis models pull"),
    "directory without anything": (good, "Where?", plain_folder, [], "CheckpointError", "config.json"),
    "directory without weights": (good, "Where?", without_weights, [], "CheckpointError", "safetensors"),
    "one tensor removed": (good, "Where?", without_a_tensor, [], "CheckpointError", "missing"),
    "camera of three": (good, "Where?", "nano", ["--camera", "1,2,3"], "CameraError", "four"),
    "camera of words": (good, "Where?", "nano", ["--camera", "a,b,c,d"], "CameraError", "number"),
    "camera without focal length": (good, "Where?", "nano", ["--camera", "0,500,320,240"], "CameraError", "fx"),
    "save as text": (good, "Where?", "nano", ["--save", "out.txt"], "OptionError", "out.txt"),
    "save nowhere": (good, "Where?", "nano", ["--save", "/nowhere/out.png"], "OptionError", "/nowhere"),
    "unknown option": (good, "Where?", "nano", ["--frobnicate"], "UsageError", "frobnicate"),
}


@pytest.mark.usefixtures("empty_machine")
@pytest.mark.parametrize("command", ["ask", "locate"])
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_code_2(picture: Path, command: str, case: str, capsys: pytest.CaptureFixture[str]) -> None:
    make, question, model, options, kind, says = BAD[case]
    image = make(picture.parent)
    model = model if isinstance(model, str) else model(picture.parent)
    arguments = [command, image, question, "--model", model, *options]
    before = sorted(picture.parent.rglob("*"))
    assert run([*arguments, "--save", str(picture.parent / "out.png")] if "--save" not in options else arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("deixis: ")
    assert err.count("\n") == 1
    assert says in err
    assert run([*arguments, "--json"]) == 2
    out, err = capsys.readouterr()
    error = json.loads(out)["error"]
    assert (set(error), error["type"]) == ({"type", "message"}, kind)
    assert says in error["message"]
    assert sorted(picture.parent.rglob("*")) == before


@pytest.mark.parametrize(
    "arguments", [["ask"], ["ask", "x.png"], ["frob"], ["--frob"], ["models", "pull"], ["ask", "a", "b", "c"]]
)
def test_bad_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "deixis --help" in err


def test_a_failing_server_is_code_1(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ask", str(picture), "Where?", "--model", "http://127.0.0.1:9/v1#m"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("raised", "kind"),
    [(RuntimeError("odd\nthing"), "InternalError"), (KeyboardInterrupt(), "Interrupted"), (typer.Abort(), "Interrupted")],
)
def test_anything_else_is_code_1(
    picture: Path,
    fake: FakeBackend,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    raised: BaseException,
    kind: str,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(fake, "complete", fail)
    monkeypatch.delenv("DEIXIS_DEBUG", raising=False)
    assert run(["ask", str(picture), "Where?", "--json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["error"]["type"] == kind
    assert err.count("\n") == 1


def test_debugging_shows_where(picture: Path, fake: FakeBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("odd")

    monkeypatch.setattr(fake, "complete", fail)
    monkeypatch.setenv("DEIXIS_DEBUG", "1")
    with pytest.raises(RuntimeError, match="odd"):
        run(["ask", str(picture), "Where?"])


def test_a_save_that_fails_writes_nothing(
    picture: Path, fake: FakeBackend, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    assert run(["ask", str(picture), "Is it?", "--save", str(picture.parent / "out.png")]) == 1
    assert "disk full" in capsys.readouterr().err
    assert [path.name for path in picture.parent.iterdir()] == ["desk.png"]


# --- models and the rest -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("empty_machine")
def test_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_checkpoint(tmp_path / "no-nano")
    base = tmp_path / "no-hf" / "models--Qwen--Qwen3-VL-2B-Instruct" / "snapshots"
    shutil.copytree(tmp_path / "no-nano", base / "abc")
    for arguments in (["models"], ["models", "list"]):
        assert run(arguments) == 0
        out = capsys.readouterr().out
        for word in (
            "nano",
            "ready",
            "rendered worlds",
            "Qwen/Qwen3-VL-2B-Instruct",
            "Qwen/Qwen3-VL-8B-Instruct",
            "deixis models pull",
        ):
            assert word in out
    assert run(["models", "list", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert {entry["name"]: entry["state"] for entry in row["here"]} == {"nano": "ready", "Qwen/Qwen3-VL-2B-Instruct": "ready"}
    next((base / "abc").glob("*.safetensors")).unlink()
    run(["models", "list", "--json"])
    assert {entry["state"] for entry in json.loads(capsys.readouterr().out)["here"]} == {"ready", "incomplete: pull again"}


def test_models_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_machine: None, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    directory = write_checkpoint(tmp_path / "no-nano")
    assert run(["models"]) == 0
    assert "not checked yet" in capsys.readouterr().out
    assert run(["models", "check", "nano", "--beside", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["name"], row["grounding"]["scale"], row["grounding"]["pictures"]) == ("nano", None, 4)
    assert (directory / canary.BESIDE).is_file()
    assert run(["models"]) == 0
    assert "grounding none, IoU 0.0" in capsys.readouterr().out
    assert run(["models", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["here"][0]["grounding"]["pictures"] == 4


def test_field_of_view(picture: Path, fake: FakeBackend, capsys: pytest.CaptureFixture[str]) -> None:
    scene = picture.parent / "scene.json"
    for command in (["ask", str(picture), "How far is the book?"], ["locate", str(picture), "cups", "--3d"]):
        assert run([*command, "--json", "--fov", "90"]) == 0
        camera = json.loads(capsys.readouterr().out)["camera"]
        assert (camera["fx"], camera["fy"], camera["source"]) == (pytest.approx(320), pytest.approx(320), "user")
        assert run([*command, "--fov", "90", "--camera", "640,640,320,240"]) == 2
        assert "--fov" in capsys.readouterr().err
        for angle in ("0", "180", "nan"):
            assert run([*command, "--fov", angle]) == 2
            assert "field of view" in capsys.readouterr().err
    assert run(["scene", str(picture), "-o", str(scene), "--fov", "90"]) == 0
    assert json.loads(scene.read_text())["camera"]["fx"] == pytest.approx(320)


def test_reproject(picture: Path, fake: FakeBackend, capsys: pytest.CaptureFixture[str]) -> None:
    scene, record = picture.parent / "scene.json", picture.parent / "record.json"
    for command, wanted in (
        (["ask", str(picture), "Is the red cup in front of the book?", "--json"], "depth_m"),
        (["locate", str(picture), "cups", "--3d", "--json"], "depth_m"),
        (["scene", str(picture), "-o", str(scene), "--json"], "layout"),
    ):
        capsys.readouterr()
        assert run([*command, "--fov", "60"]) == 0
        record.write_text(capsys.readouterr().out)
        asked = len(fake.asked)
        assert run(["reproject", str(record), "--fov", "90", "--json"]) == 0
        row = json.loads(capsys.readouterr().out)
        assert len(fake.asked) == asked
        assert row["camera"]["fx"] == pytest.approx(320) and wanted in json.dumps(row)
        # The same as asking with that camera, but for times, notes and rounding.
        assert run([*command, "--fov", "90"]) == 0
        again = json.loads(capsys.readouterr().out)
        for mine, theirs in zip(row["objects"], again["objects"], strict=True):
            assert mine["depth_m"] == pytest.approx(theirs["depth_m"], abs=2e-4)
            assert mine["box_3d"] == pytest.approx(theirs["box_3d"], abs=2e-4)
    assert run(["reproject", str(record), "--camera", "640,640,320,240"]) == 0
    for arguments in ([], ["--fov", "200"], ["--fov", "50", "--camera", "640,640,320,240"]):
        assert run(["reproject", str(record), *arguments]) == 2
    for text in ("", "[]", "{}", '{"error": {}}', '{"camera": 3}', record.read_text().replace('"fx": ', '"fx": -')):
        record.write_text(text)
        assert run(["reproject", str(record), "--fov", "90"]) == 2
        assert "record" in capsys.readouterr().err


def test_models_pull(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from deixis.backends import pull

    def pretend(name: str, say: Callable[[str], None]) -> Path:
        say("4.0 GiB")
        return Path("/models/x")

    monkeypatch.setattr(pull, "pull", pretend)
    assert run(["models", "pull", "Qwen/X"]) == 0
    out, err = capsys.readouterr()
    assert "/models/x" in out
    assert err == "4.0 GiB\n"
    assert run(["models", "pull", "Qwen/X", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"name": "Qwen/X", "directory": "/models/x"}


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"deixis {deixis.__version__}\n"
    assert run(["--help"]) == 0
    for command in ("ask", "locate", "models"):
        assert command in capsys.readouterr().out or command != "ask"
    assert run(["ask", "--help"]) == 0
    assert "--camera" in capsys.readouterr().out
    assert run([]) == 2
    assert "Usage" in "".join(capsys.readouterr())


def test_main_exits_with_the_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setattr(sys, "argv", ["deixis", "frob"])
    with pytest.raises(SystemExit) as stopped:
        commands.main()
    assert stopped.value.code == 2
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


def test_help_starts_without_heavy_rooms() -> None:
    heavy = ("torch", "numpy", "PIL", "mujoco")
    code = f"import sys; from deixis.cli import run; run(['--help']); print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.splitlines()[-1] == "[]"


def test_lazy_commands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import types

    room = types.ModuleType("room_of_tests")
    room.app = typer.Typer()  # type: ignore[attr-defined]

    @room.app.command()  # type: ignore[attr-defined]
    def make(count: int = 1) -> None:
        typer.echo(f"made {count}")

    @room.app.command()  # type: ignore[attr-defined]
    def train() -> None:
        raise typer.Exit(3)

    room.__spec__ = types.SimpleNamespace()  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "room_of_tests", room)
    table = {"lab": ("room_of_tests", "app", "Worlds.", "lab"), "bench": ("no_such_room", "app", "Figures.", "lab")}
    monkeypatch.setattr(lazy, "_LAZY", table)
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    assert "Worlds." in out
    assert "Figures." not in out
    assert run(["lab", "make", "--count", "3"]) == 0
    assert capsys.readouterr().out == "made 3\n"
    assert run(["lab", "train"]) == 3
    assert run(["lab", "make", "--count", "x"]) == 2
    assert run(["bench"]) == 2


def test_lazy_command_without_its_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def missing(_: str) -> None:
        raise ModuleNotFoundError("No module named 'mujoco'", name="mujoco")

    monkeypatch.setattr(lazy, "_LAZY", {"lab": ("json", "app", "Worlds.", "lab")})
    monkeypatch.setattr(lazy.importlib, "import_module", missing)
    assert run(["lab", "make"]) == 2
    assert "pip install 'deixis[lab]'" in capsys.readouterr().err


def test_arrays_are_not_needed_to_be_writable() -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels.setflags(write=False)
    assert deixis.spatial.Deixis(FakeBackend({"": "[]"})).locate(pixels, "cup").absent
