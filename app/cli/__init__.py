"""`rollcall`: one command for the people who run the service and for trying it out.

Nothing heavy is imported here: torch and FAISS are loaded by the commands that need them.
"""

from app.cli.main import app

__all__ = ["app"]
