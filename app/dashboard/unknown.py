"""Unknown faces: a queue of strangers, about each of whom somebody decides who it is."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import HTMLResponse

from app.dashboard.frame.actors import actor_names
from app.dashboard.frame.navigation import N_
from app.dashboard.frame.pages import render
from app.dashboard.frame.visitor import VisitorDep
from app.http.dependencies import DatabaseDep
from app.http.pagination import PageRequest
from app.review import queries
from app.review.routes import ClustererDep, get_unknown, list_unknowns
from app.review.schemas import Status

router = APIRouter(include_in_schema=False)

CLUSTERS_PER_PAGE: Final = 24
TABS: Final = {"open": N_("To decide"), "assigned": N_("Assigned"), "dismissed": N_("Dismissed")}


@router.get("/unknown")
def unknown_page(
    request: Request,
    visitor: VisitorDep,
    database: DatabaseDep,
    clusterer: ClustererDep,
    status: Status = "open",
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> HTMLResponse:
    wanted = PageRequest(limit=CLUSTERS_PER_PAGE, cursor=cursor)
    page = list_unknowns(database, clusterer, wanted, visitor.principal, status)
    with database.read() as session:
        names = actor_names(session, [cluster.resolved_by for cluster in page.items if cluster.resolved_by])
        kept_days = queries.retention_days(session)
    return render(
        request,
        visitor,
        "unknown.html",
        page=page,
        names=names,
        tab=status,
        tabs=TABS,
        longest_days=max(kept_days.values(), default=0),
        is_kept_everywhere=all(kept_days.values()),
    )


@router.get("/unknown/{cluster_id}")
def unknown_detail_page(request: Request, visitor: VisitorDep, database: DatabaseDep, cluster_id: str) -> HTMLResponse:
    cluster = get_unknown(cluster_id, database, visitor.principal)
    with database.read() as session:
        names = actor_names(session, [cluster.resolved_by] if cluster.resolved_by else [])
    return render(request, visitor, "unknown_detail.html", cluster=cluster, names=names, tabs=TABS)
