"""The command line: `deixis ask`, `locate`, `models`, and the lab's commands where its extra is installed."""

from deixis.cli.commands import main, run

__all__ = ["main", "run"]
