"""Plotly under a strict content security policy: it makes no style element where there is one with the same id."""

import re
from functools import cache
from importlib.resources import files
from typing import Final

# The rules of its own parts, and those of the maps that it brings along, under a hash that changes with its releases.
_OWN: Final = "plotly.js-style-global"
_BROUGHT: Final = re.compile(r'getElementById\("([0-9a-f]{64})"\)\)\{var \w+=document\.createElement\("style"\)')


@cache
def style_ids() -> tuple[str, ...]:
    """Ids of the style elements that a page has to have, with its nonce, before it loads `/assets/plotly.min.js`."""
    script = (files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
    return (_OWN, *dict.fromkeys(_BROUGHT.findall(script)))
