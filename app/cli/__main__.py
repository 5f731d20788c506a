"""`python -m app.cli`: the command where no script is installed for it."""

from app.cli import app

app()
