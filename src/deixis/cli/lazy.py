"""Sub-commands whose rooms are imported when they are called, and which are not there where a room is not installed."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import typer
from typer.core import TyperGroup

from deixis.errors import OptionError

# name: (module, attribute, what it is for, extra it needs).
_LAZY: dict[str, tuple[str, str, str, str]] = {
    "lab": ("deixis.lab.cli", "app", "Worlds with exact truth, and the training of nano.", "lab"),
    "bench": ("deixis.lab.cli", "bench", "Measured accuracy and speed.", "lab"),
}


class _LazyGroup(TyperGroup):
    """A sub-command that shows its help line without importing its room."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        module, attribute, _, needs = _LAZY[self.name or ""]
        try:
            app = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            raise OptionError(
                f"`deixis {self.name}` needs {error.name}, which is not installed; `pip install 'deixis[{needs}]'`"
            ) from error
        return typer.main.get_command(app).make_context(info_name, args, parent=parent, **extra)


class Commands(TyperGroup):
    """The top level: the commands of commands.py, then the lazy ones whose rooms are installed."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *(name for name, entry in _LAZY.items() if _exists(entry[0]))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in _LAZY and _exists(_LAZY[cmd_name][0]):
            return _LazyGroup(name=cmd_name, help=_LAZY[cmd_name][2])
        return super().get_command(ctx, cmd_name)


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
