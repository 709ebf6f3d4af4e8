"""The server of the page: its routes, in the order in which a visitor comes upon them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.staticfiles import StaticFiles

from instancefcn.devices import told_as_memory_error
from instancefcn.web.answers import Refused, as_text, body_of, folder_json, json_of, number_of, photograph_json
from instancefcn.web.downloads import FORMS, Chosen, download
from instancefcn.web.explanation import explain
from instancefcn.web.folder import OthersFile, ReviewFolder
from instancefcn.web.found import Found
from instancefcn.web.guard import Guard
from instancefcn.web.models import Models
from instancefcn.web.pictures import example_photographs, preview
from instancefcn.web.visit import Photograph, Visit, Visits, clean_name
from instancefcn.web.walk import Walk

PAGE = Path(__file__).parent / "page"
MOST_UPLOADED = 20_000_000  # bytes
UPLOADS_AT_ONCE = 4  # in memory
LONGEST_UPLOAD = 60.0  # seconds; others wait for it
THUMBNAIL_SIDE = 240  # pixels
T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]


class Server:
    """The page's server; ``app`` is the ASGI application.

    Everything that takes time runs one after the other in one thread of its own, so that visitors wait for each other
    instead of sharing memory, and the page itself always answers. The network is loaded there, too: OpenMP has helpers
    for each thread that calls torch, and where these are more than cores, all of them fall asleep between two layers,
    which makes a call half as long again.

    Args:
        models: to propose by; they need not be loaded yet.
        host: a name, besides addresses and "localhost", under which the server may be asked.
        port: that it listens on; two servers of one machine share their cookies, and tell them apart by it.
        folder: photographs to step through, instead of uploads.
        visits: who is there, for tests.

    Example: ``uvicorn.run(Server(models).app, host="127.0.0.1", port=7860)``.
    """

    def __init__(
        self,
        models: Models,
        *,
        host: str = "localhost",
        port: int = 7860,
        folder: ReviewFolder | None = None,
        visits: Visits | None = None,
    ) -> None:
        self.models, self.folder, self.visits = models, folder, visits or Visits()
        self.cookie = f"instancefcn-{port}"
        self.examples = example_photographs()
        self._walk: tuple[tuple[str, int], Walk] | None = None
        self._uploads = asyncio.Semaphore(UPLOADS_AT_ONCE)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="page")
        routes = [
            Route("/", self.page),
            Route("/api/state", self._route(self.state)),
            Route("/api/examples/{place:int}/picture", self._route(self.example_picture)),
            Route("/api/examples/{place:int}", self._route(self.open_example), methods=["POST"]),
            Route("/api/photographs", self._route(self.upload), methods=["POST"]),
            Route("/api/photographs/{key}/picture", self._route(self.picture)),
            Route("/api/photographs/{key}/objects", self._route(self.objects)),
            Route("/api/photographs/{key}/why", self._route(self.why), methods=["POST"]),
            Route("/api/folder", self._route(self.list_folder)),
            Route("/api/folder/{place:int}", self._route(self.open_place), methods=["POST"]),
            Route("/api/folder/{place:int}/labels", self._route(self.save), methods=["POST"]),
            Route("/api/download", self._route(self.download), methods=["POST"]),
        ]
        starlette = Starlette(routes=routes)
        starlette.mount("/page", StaticFiles(directory=PAGE))
        self.app = Guard(starlette, host)

    def start(self, failed: Callable[[], None] = lambda: None) -> None:
        """Begin to load the models; ``failed`` is called where they can't be."""
        self._worker.submit(self.models.load_and_note, failed)

    def close(self) -> None:
        """End the thread; what waits for it is left undone."""
        self.models.close()
        self._worker.shutdown(wait=True, cancel_futures=True)

    async def page(self, request: Request) -> Response:
        """The page, and the secret by which its visitor is known from now on."""
        response = FileResponse(PAGE / "index.html")
        secret = request.cookies.get(self.cookie, "")
        if self.visits.get(secret) is None:
            secret = self.visits.begin()
            response.set_cookie(self.cookie, secret, path="/", httponly=True, samesite="lax")
        return response

    async def state(self, request: Request, visit: Visit) -> Response:
        """How far loading is, and what there is."""
        return JSONResponse(
            {
                "ready": self.models.ready,
                "stage": self.models.stage,
                "error": self.models.error,
                "models": self.models.names,
                "examples": [path.stem.replace("_", " ") for path in self.examples],
                "forms": FORMS,
                "most_bytes": MOST_UPLOADED,
                "folder": None if self.folder is None else folder_json(self.folder),
            }
        )

    async def example_picture(self, request: Request, visit: Visit) -> Response:
        """A small picture of an example."""
        path = self._example(request)
        return Response(
            await self._work(lambda: preview(Photograph.read(path.name, path).pixels(), THUMBNAIL_SIDE)),
            media_type="image/jpeg",
        )

    async def open_example(self, request: Request, visit: Visit) -> Response:
        """Take an example among the visitor's photographs."""
        path = self._example(request)
        return await self._keep(visit, path.name, path)

    async def upload(self, request: Request, visit: Visit) -> Response:
        """Take a photograph: the request's body is its file, ``?name=`` what it is called."""
        name = clean_name(request.query_params.get("name", ""))
        async with self._uploads:  # the others wait, unread
            try:
                async with asyncio.timeout(LONGEST_UPLOAD):
                    content = await body_of(request, MOST_UPLOADED, name)
            except TimeoutError:
                raise Refused(408, f"{name}: it took too long to arrive: try again") from None
            if not content:
                raise Refused(415, f"{name}: the file is empty")
            return await self._keep(visit, name, content)

    async def picture(self, request: Request, visit: Visit) -> Response:
        """A photograph as JPEG, of up to 2,000 pixels a side."""
        return Response(self._photograph(request, visit).picture, media_type="image/jpeg")

    async def objects(self, request: Request, visit: Visit) -> Response:
        """What a model found in a photograph; the network runs when this is asked for the first time."""
        photograph, by = self._photograph(request, visit), number_of(request, "by")
        exclusive = request.query_params.get("exclusive") == "1"
        answer = await self._work(lambda: self.found(photograph, by).as_json(exclusive))
        self.visits.trim()
        return JSONResponse(answer)

    async def why(self, request: Request, visit: Visit) -> Response:
        """Why a pixel, a candidate or an object: ``explanation.explain``."""
        photograph, asked = self._photograph(request, visit), await json_of(request)
        try:
            by, exclusive = int(asked.get("by", 0)), bool(asked.get("exclusive", False))
            rank, number = (None if asked.get(key) is None else int(asked[key]) for key in ("rank", "number"))
            pixel = None if asked.get("pixel") is None else (int(asked["pixel"][0]), int(asked["pixel"][1]))
        except (AttributeError, TypeError, ValueError, LookupError, OverflowError) as error:
            raise Refused(400, f"This is no question why: {error}") from error
        if rank is None and number is None and pixel is None:
            raise Refused(400, "This is no question why: give a pixel, a candidate or an object")

        def answer() -> dict[str, Any]:
            found, walk = self.found(photograph, by), self.walk(photograph, by)
            return explain(walk, found, exclusive=exclusive, pixel=pixel, rank=rank, number=number)

        return JSONResponse(await self._work(answer))

    async def list_folder(self, request: Request, visit: Visit) -> Response:
        """The photographs of the folder, and which have labels."""
        folder = self._folder()
        states = await self._work(lambda: [folder.state(place) for place in range(len(folder.images))])
        entries = zip(folder.images, states, strict=True)
        return JSONResponse([{"name": as_text(name), "state": state} for (name, _), state in entries])

    async def open_place(self, request: Request, visit: Visit) -> Response:
        """Take a photograph of the folder among the visitor's."""
        folder, place = self._folder(), self._place(request)
        name, path = folder.images[place]
        there = visit.of_place(place)
        if there is None:
            read = await self._work(lambda: Photograph.read(name, path, place))
            there = visit.of_place(place) or visit.add(read)  # another request may have been faster
            self.visits.trim()
        visit.get(there.key)
        return JSONResponse(photograph_json(there) | {"state": await self._work(lambda: folder.state(place))})

    async def save(self, request: Request, visit: Visit) -> Response:
        """Save what is kept of a photograph of the folder as its labels."""
        folder, place, asked = self._folder(), self._place(request), await json_of(request)
        try:
            chosen, over = Chosen.from_json(asked), asked.get("over")
        except (AttributeError, TypeError, KeyError, ValueError) as error:
            raise Refused(400, f"These are no labels: {error}") from error
        photograph = self._one(visit, chosen.key)
        if photograph.place != place:
            raise Refused(400, "These labels are of another photograph.")
        try:

            def save() -> dict[str, Any]:
                kept = chosen.of(self.found(photograph, chosen.by))
                photograph.refuse_change()
                return folder.save(place, kept, over)

            saved = await self._work(save)
        except OthersFile as others:
            return JSONResponse({"sentence": str(others), "sum": others.sum}, 409)
        return JSONResponse(saved)

    async def download(self, request: Request, visit: Visit) -> Response:
        """What is kept of photographs, in a format: a file, or several in a zip."""
        asked = await json_of(request)
        try:
            form, kept = str(asked["form"]), [Chosen.from_json(one) for one in asked["photographs"]]
        except (TypeError, KeyError, ValueError) as error:
            raise Refused(400, f"This is no request for a download: {error}") from error
        wanted = [(self._one(visit, chosen.key), chosen) for chosen in kept]
        made = await self._work(
            lambda: download(form, [(photograph, one, self.found(photograph, one.by)) for photograph, one in wanted])
        )
        headers = {
            "content-disposition": f"attachment; filename*=UTF-8''{quote(as_text(made.name))}",
            "x-file-name": quote(as_text(made.name)),
            "x-notes": quote(json.dumps(made.notes)),
        }
        return Response(made.content, media_type=made.media_type, headers=headers)

    def found(self, photograph: Photograph, by: int) -> Found:
        """What a model finds in a photograph; kept from the first time on. Runs in the worker."""
        if by not in photograph.found:
            photograph.found[by] = Found.of(self.models.get(by), photograph.pixels())
        return photograph.found[by]

    def walk(self, photograph: Photograph, by: int) -> Walk:
        """The walk of a photograph, of which the server keeps the last one. Runs in the worker."""
        which = (photograph.key, by)
        if self._walk is None or self._walk[0] != which:
            self._walk = None  # its memory is needed
            self._walk = which, Walk(self.models.get(by), photograph.pixels())
        return self._walk[1]

    async def _keep(self, visit: Visit, name: str, file: Path | bytes) -> Response:
        photograph = visit.add(await self._work(lambda: Photograph.read(name, file)))
        self.visits.trim()
        return JSONResponse(photograph_json(photograph))

    def _folder(self) -> ReviewFolder:
        if self.folder is None:
            raise Refused(404, "No folder was given: start `instancefcn web FOLDER`.")
        return self.folder

    def _place(self, request: Request) -> int:
        place = request.path_params["place"]
        if place >= len(self._folder().images):
            raise Refused(404, "The folder has no such photograph.")
        return place

    def _example(self, request: Request) -> Path:
        place = request.path_params["place"]
        if place >= len(self.examples):
            raise Refused(404, "There is no such example.")
        return self.examples[place]

    def _photograph(self, request: Request, visit: Visit) -> Photograph:
        return self._one(visit, request.path_params["key"])

    def _one(self, visit: Visit, key: str) -> Photograph:
        try:
            return visit.get(key)
        except KeyError:
            raise Refused(404, "This photograph is not kept any more: add it again.") from None

    async def _work(self, function: Callable[[], T]) -> T:
        """Run a function in the worker's thread; what it raises for a user becomes an answer."""
        try:
            with told_as_memory_error():
                return await asyncio.get_running_loop().run_in_executor(self._worker, function)
        except LookupError as error:
            raise Refused(404, str(error)) from error
        except (ValueError, OSError, ModuleNotFoundError) as error:
            raise Refused(415, str(error)) from error
        except MemoryError as error:
            raise Refused(413, "There is not enough memory for this photograph: make it smaller.") from error
        except RuntimeError as error:
            raise Refused(503, str(error)) from error

    def _route(self, function: Callable[[Request, Visit], Awaitable[Response]]) -> Handler:
        """A handler that knows whose request it is, and answers refusals in words."""

        async def handle(request: Request) -> Response:
            visit = self.visits.get(request.cookies.get(self.cookie, ""))
            if visit is None:
                return PlainTextResponse("The server was started anew, or does not know you: load the page again.", 401)
            try:
                return await function(request, visit)
            except Refused as refused:
                return PlainTextResponse(as_text(str(refused)), refused.status)
            except ClientDisconnect:
                return PlainTextResponse("", 400)

        return handle
