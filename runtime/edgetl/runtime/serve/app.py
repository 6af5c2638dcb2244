"""The ASGI application: every endpoint of a server, over one set of models."""

from collections.abc import Sequence
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from edgetl.errors import EdgetlError
from edgetl.runtime.serve import openapi, predict, rest
from edgetl.runtime.serve.access import Access, error_response, failed, refused
from edgetl.runtime.serve.bodies import Bodies
from edgetl.runtime.serve.config import ServeConfig
from edgetl.runtime.serve.metrics import CONTENT_TYPE, Metrics
from edgetl.runtime.serve.models import Model, Models, find_models
from edgetl.runtime.serve.refusals import GONE, Refusal

PAGE = Path(__file__).with_name("page.html")
PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page is one file without anything from elsewhere, and may load nothing."""

RAISED = (Refusal, EdgetlError, HTTPException, ClientDisconnect)


class Application:
    """What answers, and its life: `asgi` between `open` and `close`, all in one event loop."""

    def __init__(self, models: Models, config: ServeConfig, metrics: Metrics) -> None:
        self.models, self.config, self.metrics = models, config, metrics
        self._preparers = predict.Preparers(config, metrics)
        self.asgi = Access(self._routed(), metrics, config.token, every_request=config.access_log)

    async def open(self) -> None:
        """Opens the variant each model answers with. Raises what `load` raises."""
        await self.models.open_defaults()

    async def close(self) -> None:
        """Frees preparers and engines, after what is queued."""
        self._preparers.close()
        await self.models.close()

    def drain(self) -> None:
        """From now on the server says it is not ready, and every answer is its connection's last."""
        self.asgi.draining = True

    def _routed(self) -> Starlette:
        bodies = Bodies(self.config.max_body_bytes, self.config.max_bodies_mb * 2**20)
        routes = [
            *rest.routes(self.models, bodies, lambda: self.asgi.draining),
            *predict.routes(self.models, bodies, self._preparers),
            Route("/metrics", self._exposition),
            Route("/openapi.json", self._document),
            Route("/", _page),
        ]
        app = Starlette(routes=routes, exception_handlers={**dict.fromkeys(RAISED, _refused), Exception: _broken})
        app.router.redirect_slashes = False
        return app

    async def _exposition(self, request: Request) -> Response:
        return Response(self.metrics.exposition(), media_type=CONTENT_TYPE)

    async def _document(self, request: Request) -> Response:
        tasks = [model.bundle.manifest.task for model in self.models.by_name.values()]
        takes, answers = {task.takes for task in tasks}, {task.answer for task in tasks}
        return rest.json_response(openapi.document(takes, answers))


def build(
    bundles: Sequence[Path],
    config: ServeConfig,
    *,
    device: str | None = None,
    variant: str | None = None,
    require_signature: Path | None = None,
) -> Application:
    """The application over these bundles, nothing opened yet. Raises what `find_models` raises."""
    metrics = Metrics()
    found = find_models(bundles, device=device, variant=variant, require_signature=require_signature)
    models = [Model(*each) for each in found]
    return Application(Models(models, config, metrics, device), config, metrics)


async def _page(request: Request) -> Response:
    return HTMLResponse(PAGE.read_bytes(), headers={"content-security-policy": PAGE_POLICY})


async def _broken(request: Request, error: Exception) -> Response:
    """A bug; what it was is for the log alone."""
    return error_response("internal server error", 500)


async def _refused(request: Request, error: Exception) -> Response:
    """Everything an endpoint raises on purpose, Starlette's own 404 and 405 included; the rest is a 500 with a log."""
    if isinstance(error, Refusal):
        return refused(error)
    if isinstance(error, HTTPException):
        return error_response(error.detail.lower(), error.status_code, error.headers)
    if isinstance(error, EdgetlError):
        return failed(request.url.path, error)
    return Response(status_code=GONE)  # ClientDisconnect
