"""The service's own numbers for Prometheus. Open like the health checks: it holds route templates and counts, nothing of any user."""

from fastapi import APIRouter, Request, Response

from api.dependencies import Payloads
from api.metrics import Metrics

router = APIRouter(tags=["operation"])


@router.get("/metrics", include_in_schema=False)
async def read_metrics(request: Request, payloads: Payloads) -> Response:
    """Histograms of all routes over all processes, at most a minute old; 503 while the database is gone."""
    metrics: Metrics = request.app.state.metrics
    build = payloads.build
    text = await metrics.exposition(built_at=build.finished_at if build else None)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8", headers={"Cache-Control": "no-store"})
