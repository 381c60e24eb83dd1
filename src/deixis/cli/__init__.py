"""The command line: `deixis ask`, `locate`, `scene`, `models`, and the lab's commands where its extra is installed."""

from deixis.cli.commands import app, main, run
from deixis.cli.models import models_app
from deixis.cli.scene import scene_command

app.command("scene")(scene_command)
app.add_typer(models_app, name="models")

__all__ = ["main", "run"]
