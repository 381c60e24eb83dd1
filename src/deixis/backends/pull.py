"""Fetches a checkpoint from Hugging Face or ModelScope into the hub's own cache: only when asked, with its size, resumable.

Knows hubs. Does not load what it fetches. Both hubs' clients are imported on first use.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deixis.backends.catalog import GIB, MODEL_TYPES, cached_directory, hub_cache, weight_files
from deixis.errors import BackendError, CheckpointError, InputError, ModelNotFoundError, OptionError

# Everything that loading needs, and no copies of the weights in other formats.
WANTED = ("*.safetensors", "*.json", "*.jinja", "*.txt")


def pull(name: str, say: Callable[[str], None]) -> Path:
    """Download `Qwen/…` or `modelscope:Qwen/…` and return its directory. What is there is kept; a broken-off pull goes on.

    `say` gets one line about the size before it starts; progress bars are the hub client's own, on stderr. Raises
    ModelNotFoundError, CheckpointError for something that is no Qwen3-VL, OptionError without disk room or client, BackendError
    where the hub fails.
    """
    if name.count("/") != 1 or name.startswith(("http://", "https://", "/", ".")):
        raise OptionError(f"cannot pull {name!r}; expected a hub id such as Qwen/Qwen3-VL-2B-Instruct or modelscope:Qwen/…")
    if name.startswith("modelscope:"):
        directory = _modelscope(name.removeprefix("modelscope:"), say)
    else:
        directory = _huggingface(name, say)
    absent = [path.name for path in weight_files(directory) if not path.is_file()]
    if absent or not weight_files(directory):
        raise BackendError(f"{name} arrived without {', '.join(absent) or 'weights'}; run `deixis models pull {name}` again")
    return directory


def _huggingface(hub_id: str, say: Callable[[str], None]) -> Path:
    import httpx
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    try:
        info = HfApi().model_info(hub_id, files_metadata=True)
        _require_qwen3_vl(hub_id, Path(hf_hub_download(hub_id, "config.json")))
        sizes = {entry.rfilename: int(entry.size or 0) for entry in info.siblings or ()}
        _announce(hub_id, sizes, hub_cache("huggingface"), "huggingface.co", say)
        return Path(snapshot_download(hub_id, allow_patterns=list(WANTED)))
    except RepositoryNotFoundError as error:
        raise ModelNotFoundError(f"Hugging Face has no {hub_id} (or it is private); check the name") from error
    except (HfHubHTTPError, httpx.HTTPError, OSError, ValueError) as error:
        raise BackendError(
            f"Hugging Face did not deliver {hub_id} ({_line(error)}); check the network and run the same command again: it "
            f"goes on where it stopped. Or `deixis models pull modelscope:{hub_id}`"
        ) from error


def _modelscope(hub_id: str, say: Callable[[str], None]) -> Path:
    try:
        from modelscope import HubApi, snapshot_download
    except ImportError as error:
        raise OptionError("ModelScope's client is not installed; `pip install modelscope`, or pull from Hugging Face") from error
    try:
        listed: list[dict[str, Any]] = HubApi().get_model_files(hub_id, recursive=True)
        config = Path(snapshot_download(hub_id, allow_patterns=["config.json"])) / "config.json"
        _require_qwen3_vl(hub_id, config)
        sizes = {str(entry["Path"]): int(entry.get("Size") or 0) for entry in listed}
        _announce(hub_id, sizes, hub_cache("modelscope"), "modelscope.cn", say)
        return Path(snapshot_download(hub_id, allow_patterns=list(WANTED)))
    except InputError:
        raise
    except Exception as error:  # its client raises bare exceptions
        raise BackendError(
            f"ModelScope did not deliver {hub_id} ({_line(error)}); run the same command again: it goes on"
        ) from error


def _require_qwen3_vl(hub_id: str, config: Path) -> None:
    """Before gigabytes are fetched: this program reads Qwen3-VL only."""
    found = json.loads(config.read_text(encoding="utf-8")).get("model_type")
    if found not in MODEL_TYPES:
        raise CheckpointError(f"{hub_id} is a {found!r} model; expected Qwen3-VL ({', '.join(MODEL_TYPES)})")


def _announce(hub_id: str, sizes: dict[str, int], cache: Path, host: str, say: Callable[[str], None]) -> None:
    total = sum(size for path, size in sizes.items() if any(Path(path).match(pattern) for pattern in WANTED))
    existing = next(path for path in (cache, *cache.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    say(f"{hub_id}: {total / GIB:.1f} GiB from {host} into {cache} ({free / GIB:.1f} GiB free)")
    already = cached_directory(hub_id, "huggingface" if host == "huggingface.co" else "modelscope")
    held = sum(path.stat().st_size for path in weight_files(already) if path.is_file()) if already else 0
    if total - held > free:
        raise OptionError(
            f"{hub_id} needs {(total - held) / GIB:.1f} GiB and {cache} has {free / GIB:.1f} GiB free; make room first"
        )


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
