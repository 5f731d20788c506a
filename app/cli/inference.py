"""`rollcall inference`."""

from typing import Annotated, Final

import structlog
import typer

from app.cli.failures import told_plainly
from app.cli.listening import bound_socket, ended_by_signal, url_of
from app.cli.tune_engine import tune_once
from app.logs import configure_logging
from app.settings import Settings

# Longer than callers keep a connection that nobody uses, so that none is closed under a batch on its way.
_KEEP_ALIVE_S: Final = 75
# For batches that are being looked at when it is told to stop; callers send the others elsewhere.
_GRACE_S: Final = 20

log = structlog.get_logger(__name__)


@told_plainly
def inference(
    device: Annotated[
        str | None, typer.Option(help="Where the networks run: cpu, cuda, cuda:1.", show_default="ROLLCALL_DEVICE")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every network card.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8100,
) -> None:
    """Run the networks for others: one of these for each GPU, on as many machines as there are.

    Replicas and job workers send their pictures here when `ROLLCALL_INFERENCE_URLS` names it, and run no networks of
    their own. Both sides need the same `ROLLCALL_INFERENCE_TOKEN`, without which this listens on this machine alone,
    and the same `ROLLCALL_BACKBONE`, `ROLLCALL_DETECTOR`, `ROLLCALL_MIN_FACE_PX` and `ROLLCALL_MIRRORED_EMBEDDING`.
    It needs no database. When told to stop it finishes what it is looking at.
    """
    settings = Settings()
    if device is not None:
        settings = settings.model_copy(update={"device": device})
    configure_logging(settings)
    # Imported late: a wrong setting should be told at once.
    from app.inference.server import create_inference_app, require_token_or_loopback

    require_token_or_loopback(host, settings)
    with bound_socket(host, port) as listener:
        import uvicorn

        from app.inference.local import load_local_runner

        tune_once(settings)
        runner = load_local_runner(settings)
        app = create_inference_app(settings, runner)
        log.info("inference.started", url=url_of(host, listener), device=runner.info.device, model=runner.info.model)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_GRACE_S,
        )
        with ended_by_signal():
            uvicorn.Server(config).run(sockets=[listener])
