"""How a route gets the gallery, no older than its caller asks."""

from typing import Annotated

from fastapi import Depends, Header
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from app.auth.dependencies import PrincipalDep
from app.gallery.replica import GalleryReplica


async def _replica(request: Request) -> GalleryReplica:
    replica: GalleryReplica = request.app.state.gallery
    return replica


async def _gallery(
    request: Request,
    _caller: PrincipalDep,  # nobody without a key keeps a thread waiting
    x_min_gallery_revision: Annotated[
        int | None,
        Header(ge=0, description="Answer only from this gallery revision on: a replica waits for it, else 503."),
    ] = None,
) -> GalleryReplica:
    gallery: GalleryReplica = request.app.state.gallery
    if x_min_gallery_revision is not None:
        await run_in_threadpool(gallery.wait_for, x_min_gallery_revision)
    return gallery


ReplicaDep = Annotated[GalleryReplica, Depends(_replica)]
"""However old it is."""

GalleryDep = Annotated[GalleryReplica, Depends(_gallery)]
