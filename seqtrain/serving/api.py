"""The API: what can be asked, and what comes back."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from seqtrain.config import UserError
from seqtrain.serving.answers import Answers
from seqtrain.serving.batcher import Batcher, Full, Gone, Job
from seqtrain.serving.gate import Gate
from seqtrain.serving.metrics import Metrics

PAGE = Path(__file__).parent / "page"
TYPES = {".wav": "audio/wav", ".mid": "audio/midi"}
SURROGATE = re.compile("[\ud800-\udfff]")
GLANCE = 0.25  # seconds between looks whether a client is still there

log = logging.getLogger(__name__)


class Strict(BaseModel):
    """A body whose misspelled keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Decode(Strict):
    """Settings of the decoder other than the run's; see the page on decoding."""

    temperature: Annotated[float | None, Field(ge=0, le=100, description="0 takes the best, above: samples")] = None
    top_k: Annotated[int | None, Field(ge=0, le=1_000_000)] = None
    top_p: Annotated[float | None, Field(gt=0, le=1)] = None
    max_length: Annotated[int | None, Field(ge=1, le=10_000, description="items of an output")] = None
    length: Annotated[int | None, Field(ge=1, le=10_000, description="frames of an output without an end")] = None
    seed: Annotated[int | None, Field(ge=0, lt=2**32, description="of samples; without it they differ")] = None

    def given(self) -> dict[str, Any]:
        return self.model_dump(exclude_none=True)


class Ask(Strict):
    """Inputs to be answered: texts, or the contents of files."""

    inputs: Annotated[list[str], Field(description="texts, as lines of mode=predict; a series may be a CSV table")] = []
    files: Annotated[list[str], Field(description="contents of files in base64, for models that read such")] = []
    details: Annotated[bool, Field(description="all that is known, as in JSON Lines of mode=predict")] = False
    attention: Annotated[bool, Field(description="what each item of an output looked at in the input")] = False
    decode: Decode = Decode()


class AskOne(Strict):
    """One input, whose output comes as it is written."""

    input: Annotated[str, Field(description="a text")] = ""
    file: Annotated[str | None, Field(description="the content of a file in base64, instead")] = None
    decode: Decode = Decode()


class AskFile(Strict):
    """An output that is to become a file."""

    output: Annotated[str, Field(max_length=200_000, description="as it came out")]
    ending: Annotated[str, Field(description="such as .wav; /api/about says which there are")]


class Answered(BaseModel):
    """answers: one for each input, texts first."""

    answers: list[dict[str, Any]]


class Problem(BaseModel):
    error: str


ERRORS: dict[int | str, dict[str, Any]] = {
    413: {"model": Problem, "description": "too long"},
    422: {"model": Problem, "description": "not understood"},
    503: {"model": Problem, "description": "busy: try again after Retry-After seconds"},
    504: {"model": Problem, "description": "it took too long"},
}


class Service:
    """Checks what is asked, has it answered by the thread of the model, and waits for it. settings: the section `serve`
    of the configuration."""

    def __init__(self, answers: Answers, settings: Mapping[str, Any]):
        self.answers, self.settings = answers, settings
        self.metrics = Metrics()
        self.batcher = Batcher(settings["queue"], settings["batch"], self.metrics.batch)

    def values(self, texts: Sequence[str], files: Sequence[str]) -> list[str | bytes]:
        """Inputs as the model reads them. Raises `HTTPException`."""
        count, most = len(texts) + len(files), self.settings["batch"]
        if not count:
            raise HTTPException(422, "there is no input: inputs holds texts, files the contents of files")
        if count > most:
            raise HTTPException(413, f"{count} inputs in a request; at most {most} (serve.batch)")
        if files and not self.answers.reads_files:
            raise HTTPException(422, "files: this model reads texts, which go into inputs")
        values = [self.answers.value(self.text(text, f"input {number}")) for number, text in enumerate(texts, 1)]
        for number, file in enumerate(files, 1):
            try:
                values.append(base64.b64decode(file, validate=True))
            except binascii.Error:
                raise HTTPException(422, f"file {number}: this is no base64") from None
        return values

    def text(self, text: str, name: str) -> str:
        """The text, if it is one that may come in; raises `HTTPException`. A table is as long as a body may be."""
        longest = self.settings["length"]
        if len(text) > longest and self.answers.task.field is not None:
            problem = f"{name}: {len(text):,} characters; at most {longest:,} are read (serve.length)"
            raise HTTPException(413, problem)
        if "\0" in text or SURROGATE.search(text):
            raise HTTPException(422, f"{name}: it holds a NUL character or half of a surrogate pair, which no text has")
        return text

    async def done(self, job: Job, request: Request) -> Sequence[Any]:
        """The answers to a job. Raises `HTTPException` where the queue is full, or they are late, or the client has
        gone."""
        self.put(job)
        result = asyncio.wrap_future(job.result)
        try:
            async with asyncio.timeout(self.settings["time"]):
                while not (await asyncio.wait([result], timeout=GLANCE))[0]:
                    if await request.is_disconnected():
                        raise HTTPException(499, "the client has gone")
            return result.result()
        except TimeoutError:
            raise HTTPException(504, self.late) from None
        finally:
            result.cancel()  # else it would be warned of when nobody asks what it is
            job.leave()

    def put(self, job: Job) -> None:
        try:
            self.batcher.put(job)
        except Full:
            raise HTTPException(503, "too many requests wait (serve.queue)", {"Retry-After": "1"}) from None

    @property
    def late(self) -> str:
        return f"there was no answer within {self.settings['time']:g} s (serve.time)"

    async def predict(self, ask: Ask, request: Request) -> Sequence[dict[str, Any]]:
        values, decode = self.values(ask.inputs, ask.files), ask.decode.given()

        def work(inputs: Sequence[Any], check: Any) -> list[dict[str, Any]]:
            return self.answers.predict(inputs, decode, ask.details, ask.attention, check)

        alone = "seed" in decode  # what a seed gives must not depend on what else is asked at that time
        key = None if alone else (ask.decode, ask.details, ask.attention)
        return await self.done(Job(work, values, key), request)

    async def stream(self, ask: AskOne) -> AsyncIterator[str]:
        """Server-sent events: `text` with what is written since the one before, then `answer`, or `error`."""
        [value] = self.values([] if ask.file else [ask.input], [ask.file] if ask.file else [])
        loop, events = asyncio.get_running_loop(), asyncio.Queue[tuple[str, Any]]()

        def put(kind: str, content: Any) -> None:
            loop.call_soon_threadsafe(events.put_nowait, (kind, content))

        def work(inputs: Sequence[Any], check: Any) -> list[Any]:
            put("answer", self.answers.stream(inputs[0], ask.decode.given(), check, lambda text: put("so far", text)))
            return [None]

        job = Job(work, [value])
        job.result.add_done_callback(lambda result: result.cancelled() or put("end", result.exception()))
        self.put(job)
        return self.events(job, events)

    async def events(self, job: Job, events: asyncio.Queue[tuple[str, Any]]) -> AsyncIterator[str]:
        written, end = "", monotonic() + self.settings["time"]
        try:
            while (event := await asyncio.wait_for(events.get(), end - monotonic()))[0] != "end":
                kind, content = event
                if kind == "answer":
                    yield as_event("answer", content)
                elif (text := content.rstrip("\ufffd")).startswith(written) and text != written:
                    yield as_event("text", {"text": text[len(written) :]})
                    written = text
            if (error := event[1]) is not None:
                yield as_event("error", {"error": told(error)})
        except TimeoutError:
            yield as_event("error", {"error": self.late})
        finally:
            job.leave()


def as_event(kind: str, content: dict[str, Any]) -> str:
    return f"event: {kind}\ndata: {json.dumps(content)}\n\n"


def told(error: BaseException) -> str:
    """What a client is told of an error: the problem where it is in what was asked."""
    if isinstance(error, UserError):
        return str(error)
    log.error("a request failed", exc_info=error)
    return "the server failed at this request; its log says why"


def make_app(answers: Answers, settings: Mapping[str, Any], hosts: Sequence[str] | None) -> FastAPI:
    """The application. settings: the section `serve` of the configuration. hosts: see `Gate`."""
    service = Service(answers, settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(service.batcher.close)

    about = answers.about()
    app = FastAPI(
        title=f"seqtrain: {about['task']}",
        description='Answers of a trained model. Errors are {"error": "…"}.',
        version="1",
        lifespan=lifespan,
        docs_url=None,  # they load from other sites; page/docs.html shows the same
        redoc_url=None,
    )

    @app.get("/api/about")
    async def what() -> dict[str, Any]:
        """What the model does, and what it reads."""
        return about

    @app.post("/api/predict", responses=ERRORS, response_model=Answered)
    async def predict(ask: Ask, request: Request) -> Response:
        """Answers inputs as mode=predict does."""
        return JSONResponse({"answers": await service.predict(ask, request)})

    @app.post("/api/stream", responses=ERRORS, response_class=StreamingResponse)
    async def stream(ask: AskOne) -> Response:
        """Answers an input as it is written, by server-sent events: text, then answer or error."""
        return StreamingResponse(await service.stream(ask), media_type="text/event-stream")

    @app.post("/api/file", responses=ERRORS, response_class=Response)
    async def file(ask: AskFile, request: Request) -> Response:
        """What an output can become, such as a sound."""
        job = Job(lambda inputs, check: [answers.file(ask.output, ask.ending)], [ask.output])
        [content] = await service.done(job, request)
        return Response(content, media_type=TYPES.get(ask.ending, "application/octet-stream"))

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether requests are answered."""
        if not service.batcher.thread.is_alive():
            raise HTTPException(503, "the thread of the model has ended")
        return {"status": "ok"}

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Counts in the text format of Prometheus."""
        text = service.metrics.text(len(service.batcher.waiting))
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    handle_errors(app)
    paths = {getattr(route, "path", "") for route in app.routes}
    app.mount("/", StaticFiles(directory=PAGE, html=True))
    app.add_middleware(
        Gate,
        metrics=service.metrics,
        paths={*paths, "/"},
        hosts=hosts,
        most=settings["body"] << 20,
        seconds=settings["time"],
    )
    return app


def handle_errors(app: FastAPI) -> None:
    """Every error is one line in JSON."""

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def not_understood(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return JSONResponse({"error": f"no JSON: {first['ctx']['error']}, at character {first['loc'][1]}"}, 422)
        place = ".".join(str(part) for part in first["loc"] if part != "body")
        return JSONResponse({"error": f"{place + ': ' if place else ''}{first['msg']}"}, 422)

    @app.exception_handler(UserError)
    async def wrong(request: Request, error: UserError) -> Response:
        return JSONResponse({"error": str(error)}, 422)

    @app.exception_handler(Gone)
    async def gone(request: Request, error: Gone) -> Response:
        return JSONResponse({"error": "the client has gone"}, 499)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": told(error)}, 500)
