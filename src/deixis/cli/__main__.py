"""`python -m deixis.cli`, for a source tree that is not installed."""

from deixis.cli.commands import main

main()
