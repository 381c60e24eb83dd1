"""The command line: `deixis ask`, `locate`, `scene`, `watch`, `serve`, `mcp`, `top`, `models`, and the lab's where installed."""

from deixis.cli.commands import app, main, run
from deixis.cli.models import models_app
from deixis.cli.scene import scene_command
from deixis.cli.serve import mcp_command, serve_command
from deixis.cli.top import top_command
from deixis.cli.watch import watch_command

app.command("scene")(scene_command)
app.command("watch")(watch_command)
app.command("serve")(serve_command)
app.command("mcp")(mcp_command)
app.command("top")(top_command)
app.add_typer(models_app, name="models")

__all__ = ["main", "run"]
