"""From names to models, and what lies on this machine. No network, no real hub cache."""

from __future__ import annotations

import json
import shutil
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deixis.backends import catalog, pull, registry, resolve_model
from deixis.backends.catalog import KNOWN, cached_directory, hub_cache, local_checkpoints
from deixis.errors import BackendError, CheckpointError, DeixisError, ModelNotFoundError, OptionError
from tests.engine.checkpoints import write_checkpoint

HUB_ID = "Qwen/Qwen3-VL-2B-Instruct"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("weights"))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty hub caches, an embedded checkpoint that is not there, and nothing configured."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "DEIXIS_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "ms"))
    for module in (catalog, registry):
        monkeypatch.setattr(module, "nano_directory", lambda: tmp_path / "nano")
    return tmp_path


def put_huggingface(home: Path, weights: Path, hub_id: str = HUB_ID) -> Path:
    base = home / "hf" / ("models--" + hub_id.replace("/", "--"))
    (base / "refs").mkdir(parents=True)
    (base / "refs" / "main").write_text("abc")
    shutil.copytree(weights, base / "snapshots" / "abc")
    return base / "snapshots" / "abc"


def put_modelscope(home: Path, weights: Path) -> Path:
    return shutil.copytree(weights, home / "ms" / "hub" / "models" / "Qwen" / "Qwen3-VL-4B___5-Instruct")


def test_known_checkpoints() -> None:
    assert len(KNOWN) == len({known.hub_id for known in KNOWN}) == 12
    assert all(known.purpose and known.bytes > 2**30 for known in KNOWN)


def test_hub_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.setenv("HF_HOME", "/a")
    assert hub_cache("huggingface") == Path("/a/hub")
    monkeypatch.delenv("HF_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert hub_cache("huggingface") == Path("/b/huggingface/hub")
    monkeypatch.delenv("MODELSCOPE_CACHE")
    assert hub_cache("modelscope").parts[-2:] == (".cache", "modelscope")


def test_what_lies_here(home: Path, weights: Path) -> None:
    assert local_checkpoints() == []
    first = put_huggingface(home, weights)
    second = put_modelscope(home, weights)
    shutil.copytree(weights, home / "nano")
    put_huggingface(home, weights, "other/clip")
    (home / "hf" / "models--other--clip" / "snapshots" / "abc" / "config.json").write_text('{"model_type": "clip"}')
    found = {checkpoint.name: checkpoint for checkpoint in local_checkpoints()}
    assert set(found) == {HUB_ID, "modelscope:Qwen/Qwen3-VL-4B.5-Instruct", "nano"}
    assert found[HUB_ID].directory == first
    assert cached_directory("Qwen/Qwen3-VL-4B.5-Instruct", "modelscope") == second
    assert all(c.complete and c.loadable and c.bytes > 1000 and c.memory_bytes > c.bytes for c in found.values())


def test_interrupted_and_quantised(home: Path, weights: Path) -> None:
    directory = put_huggingface(home, weights)
    next(directory.glob("*.safetensors")).unlink()
    assert [checkpoint.complete for checkpoint in local_checkpoints()] == [False]
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"quantization_config": {}}))
    assert [checkpoint.loadable for checkpoint in local_checkpoints()] == [False]
    (directory / "model.safetensors.index.json").write_text("{")
    assert [checkpoint.complete for checkpoint in local_checkpoints()] == [False]


def test_snapshot_without_ref(home: Path, weights: Path) -> None:
    directory = put_huggingface(home, weights)
    shutil.rmtree(directory.parents[1] / "refs")
    assert cached_directory(HUB_ID, "huggingface") == directory


# name: (what to put there, model asked for, name on the card, a piece of why)
CHOICES: dict[str, tuple[list[str], str, str, str]] = {
    "directory": (["directory"], "DIRECTORY", "mine", "named by the caller"),
    "hub id": (["hf"], HUB_ID, HUB_ID, "named by the caller"),
    "modelscope id": (["ms"], "modelscope:Qwen/Qwen3-VL-4B.5-Instruct", "modelscope:Qwen/Qwen3-VL-4B.5-Instruct", "named"),
    "nano": (["nano"], "nano", "nano", "named by the caller"),
    "auto alone": (["nano"], "auto", "nano", "no other Qwen3-VL checkpoint is on this machine"),
    "auto finds": (["nano", "hf"], "auto", HUB_ID, "the largest Qwen3-VL checkpoint here that fits"),
    "auto configured": (["nano", "hf"], "auto+nano", "nano", "DEIXIS_MODEL names it"),
    "auto without room": (["nano", "hf"], "auto-memory", "nano", "GiB of memory are free"),
}


@pytest.mark.parametrize("case", CHOICES)
def test_resolve(home: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    put, model, name, why = CHOICES[case]
    places: dict[str, Callable[[], Path]] = {
        "directory": lambda: shutil.copytree(weights, home / "mine"),
        "hf": lambda: put_huggingface(home, weights),
        "ms": lambda: put_modelscope(home, weights),
        "nano": lambda: shutil.copytree(weights, home / "nano"),
    }
    for one in put:
        places[one]()
    if model == "DIRECTORY":
        model = str(home / "mine")
    if model == "auto+nano":
        monkeypatch.setenv("DEIXIS_MODEL", "nano")
        model = "auto"
    if model == "auto-memory":
        monkeypatch.setattr(registry, "free_memory_bytes", lambda: (1_000, "memory"))
        model = "auto"
    card = resolve_model(model).card
    assert card.name == name
    assert why in card.why


@pytest.mark.parametrize(
    ("model", "error", "says"),
    [
        ("gpt-9", ModelNotFoundError, "gpt-9"),
        ("", OptionError, "empty"),
        ("nano", ModelNotFoundError, "embedded"),
        ("auto", ModelNotFoundError, "embedded"),
        (HUB_ID, ModelNotFoundError, f"deixis models pull {HUB_ID}"),
        (f"modelscope:{HUB_ID}", ModelNotFoundError, f"deixis models pull modelscope:{HUB_ID}"),
        ("http://", OptionError, "address"),
        (__file__, ModelNotFoundError, "is a file"),
        ("EMPTY", CheckpointError, "config.json"),
    ],
)
def test_refusals(home: Path, model: str, error: type[DeixisError], says: str) -> None:
    with pytest.raises(error, match=says):
        resolve_model(str(home) if model == "EMPTY" else model)


def test_server_by_address() -> None:
    backend = resolve_model("http://127.0.0.1:9/v1#name")
    assert backend.card.name == "name"
    with pytest.raises(BackendError, match="did not answer"):
        resolve_model("http://127.0.0.1:9/v1")


def test_free_memory() -> None:
    free, what = registry.free_memory_bytes()
    assert free > 2**26
    assert "memory" in what


# --- pulling -----------------------------------------------------------------------------------------------------------


class Hub:
    """Stands for both hubs' clients: serves one directory."""

    def __init__(self, home: Path, weights: Path) -> None:
        self.home, self.weights = home, weights
        self.patterns: list[str] | None = None

    def files(self) -> list[Path]:
        return [path for path in self.weights.iterdir() if path.is_file()]

    def model_info(self, hub_id: str, *, files_metadata: bool) -> Any:
        assert files_metadata
        siblings = [types.SimpleNamespace(rfilename=path.name, size=path.stat().st_size) for path in self.files()]
        return types.SimpleNamespace(siblings=siblings)

    def get_model_files(self, hub_id: str, *, recursive: bool) -> list[dict[str, Any]]:
        return [{"Path": path.name, "Size": path.stat().st_size} for path in self.files()]

    def download(self, hub_id: str, *args: str, allow_patterns: list[str] | None = None) -> str:
        self.patterns = allow_patterns
        if args:
            return str(self.weights / args[0])
        return str(self.weights)


@pytest.fixture
def hub(home: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub = Hub(home, weights)
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hub.download)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.download)
    modelscope = types.ModuleType("modelscope")
    modelscope.HubApi = lambda: hub  # type: ignore[attr-defined]
    modelscope.snapshot_download = hub.download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "modelscope", modelscope)
    return hub


@pytest.mark.parametrize("name", [HUB_ID, f"modelscope:{HUB_ID}"])
def test_pull(hub: Hub, name: str) -> None:
    said: list[str] = []
    assert pull.pull(name, said.append) == hub.weights
    assert hub.patterns == list(pull.WANTED)
    assert len(said) == 1
    assert "GiB" in said[0]


def test_pull_refuses_other_architectures(hub: Hub, tmp_path: Path) -> None:
    hub.weights = tmp_path / "clip"
    hub.weights.mkdir()
    (hub.weights / "config.json").write_text('{"model_type": "clip"}')
    for name in ("openai/clip", "modelscope:openai/clip"):
        with pytest.raises(CheckpointError, match="clip"):
            pull.pull(name, print)


def test_pull_without_room(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=10))
    with pytest.raises(OptionError, match="make room"):
        pull.pull(HUB_ID, lambda _: None)


def test_pull_that_arrives_incomplete(hub: Hub, tmp_path: Path) -> None:
    hub.weights = Path(shutil.copytree(hub.weights, tmp_path / "half"))
    next(hub.weights.glob("*.safetensors")).unlink()
    with pytest.raises(BackendError, match="again"):
        pull.pull(HUB_ID, lambda _: None)


def test_pull_without_network(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(hub, "model_info", fail)
    monkeypatch.setattr(hub, "get_model_files", fail)
    for name in (HUB_ID, f"modelscope:{HUB_ID}"):
        with pytest.raises(BackendError, match="no route to host"):
            pull.pull(name, lambda _: None)


def test_pull_without_modelscope(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "modelscope", None)
    with pytest.raises(OptionError, match="pip install modelscope"):
        pull.pull(f"modelscope:{HUB_ID}", lambda _: None)


@pytest.mark.parametrize("name", ["x", "http://a/b", "a/b/c", "./a", "/a"])
def test_pull_needs_a_hub_id(name: str) -> None:
    with pytest.raises(OptionError, match="hub id"):
        pull.pull(name, lambda _: None)
