"""The README keeps up with the code."""

from pathlib import Path

from app.settings import Settings

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def settings_table() -> str:
    """Every setting as a row; print this and paste it when the test below fails."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f"`{field.default}`"
        rows.append(f"| `ROLLCALL_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(rows)


def test_the_readme_lists_every_setting_with_its_default() -> None:
    assert settings_table() in README, f"put this into the README:\n{settings_table()}"


def test_the_readme_names_the_commands_that_ci_runs() -> None:
    ci = (Path(__file__).parent.parent / ".ci" / "run").read_text(encoding="utf-8")
    for command in ("make lint", "make test"):
        assert command in README and command in ci
