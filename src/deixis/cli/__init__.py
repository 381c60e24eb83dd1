"""The command line: `deixis ask`, `locate`, `scene`, `watch`, `models`, and the lab's commands where its extra is installed."""

from deixis.cli.commands import app, main, run
from deixis.cli.models import models_app
from deixis.cli.scene import scene_command
from deixis.cli.watch import watch_command

app.command("scene")(scene_command)
app.command("watch")(watch_command)
app.add_typer(models_app, name="models")

__all__ = ["main", "run"]
