"""What commands that answer on a port share."""

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress


def bound_socket(host: str, port: int) -> socket.socket:
    """The address is taken before seconds are spent on loading; connections are refused until the server listens."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        reason = error.strerror or error
        raise OSError(f"cannot listen on {host} port {port} ({reason}): choose another --host or --port") from error
    return listener


def url_of(host: str, listener: socket.socket) -> str:
    """Where a server that was told `host` can be reached."""
    address = f"[{host}]" if ":" in host else host
    return f"http://{address}:{listener.getsockname()[1]}"


@contextmanager
def ended_by_signal() -> Iterator[None]:
    """For the block that a server runs in: it ends quietly with what asks the process to end."""
    # Uvicorn raises its signal again once everything is put away; by default SIGTERM would end us there and then.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        yield
