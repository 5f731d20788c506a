"""Ports for servers that tests start."""

import secrets
import socket
from contextlib import suppress
from typing import Final

# Below what Linux gives to outgoing connections (32768 and above): the port of a server that is down for a moment is
# not taken by somebody's request. Chosen by chance, so that test processes side by side do not choose the same.
_FIRST: Final = 20_000
_LAST: Final = 32_767


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    while True:
        port = _FIRST + secrets.randbelow(_LAST - _FIRST + 1)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
