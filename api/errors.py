"""Every error that the API answers: RFC 9457 problem details, one stable `type` per kind, and their documentation."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import asyncpg
import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

log = logging.getLogger("mesocycle.api")

MEDIA_TYPE: Final = "application/problem+json"
NAMESPACE: Final = "urn:mesocycle:problem:"


@dataclass(frozen=True)
class ProblemKind:
    """One kind of error: its name never changes once released, so that clients may branch on `type`."""

    name: str
    status: int
    title: str
    example: str
    retry_after_seconds: int | None = None
    """When it makes sense to ask again."""

    @property
    def type(self) -> str:
        return NAMESPACE + self.name


BAD_REQUEST = ProblemKind("bad-request", 400, "The request is malformed", "The Host header is missing.")
UNAUTHENTICATED = ProblemKind("unauthenticated", 401, "A valid token is needed", "Send a token: Authorization: Bearer ….")
FORBIDDEN = ProblemKind("forbidden", 403, "The token doesn't allow this", "This token opens its own user's data only.")
NOT_FOUND = ProblemKind("not-found", 404, "There is nothing here", "No route has this path.")
USER_NOT_FOUND = ProblemKind("user-not-found", 404, "There is no such user", "No user has this id.")
JOB_NOT_FOUND = ProblemKind("job-not-found", 404, "There is no such plan job", "No job has this id.")
PLAN_NOT_FOUND = ProblemKind("plan-not-found", 404, "There is no plan yet", "No plan was made for this user yet.")
METHOD_NOT_ALLOWED = ProblemKind("method-not-allowed", 405, "The method is not allowed here", "Allowed here: GET, HEAD, OPTIONS.")
TIMED_OUT = ProblemKind("request-timed-out", 408, "The request took too long to arrive", "The body was not complete after 10 seconds.")
CONTRADICTION = ProblemKind("contradiction", 409, "Values that are fine alone contradict each other", "from lies after to.")
TOO_LARGE = ProblemKind("body-too-large", 413, "The body is too large", "A body may have 1048576 bytes.")
UNSUPPORTED_MEDIA = ProblemKind("unsupported-media-type", 415, "The body is not JSON", "Send Content-Type: application/json.")
INVALID = ProblemKind("invalid-request", 422, "A value is not allowed", "range must be one of 7d, 30d, 90d, 365d, all.")
KEY_REUSED = ProblemKind(
    "idempotency-key-reused", 422, "The Idempotency-Key stands for another request", "Use a new key for a new request."
)
TOO_MANY = ProblemKind("too-many-requests", 429, "Too many requests", "Try again in 3 seconds.")
HEAD_TOO_LARGE = ProblemKind("head-too-large", 431, "The request's head is too large", "Path and headers may have 32768 bytes.")
INTERNAL = ProblemKind("internal-error", 500, "Something went wrong here", "The error was logged under the request's id.")
UNAVAILABLE = ProblemKind(
    "database-unavailable", 503, "The database doesn't answer", "Nothing was changed. Try again in a second.", retry_after_seconds=1
)
OVERLOADED = ProblemKind(
    "overloaded", 503, "Too much at once", "No database connection came free. Try again in a second.", retry_after_seconds=1
)
NOT_BUILT = ProblemKind(
    "not-built-yet", 503, "The numbers are not built yet", "No build of the marts has succeeded yet.", retry_after_seconds=10
)
KEYS_UNAVAILABLE = ProblemKind(
    "keys-unavailable", 503, "Tokens can't be verified now", "The issuer's keys could not be fetched.", retry_after_seconds=10
)
TOO_SLOW = ProblemKind("too-slow", 503, "The answer took too long", "No answer within 15 seconds.", retry_after_seconds=1)

KINDS: Final = tuple(value for value in dict(globals()).values() if isinstance(value, ProblemKind))

BY_STATUS: Final = {
    400: BAD_REQUEST,
    401: UNAUTHENTICATED,
    403: FORBIDDEN,
    404: NOT_FOUND,
    405: METHOD_NOT_ALLOWED,
    413: TOO_LARGE,
    415: UNSUPPORTED_MEDIA,
    422: INVALID,
    429: TOO_MANY,
}
"""What the framework's own HTTP errors become."""


class Problem(Exception):
    """Raise it anywhere below a route: `raise Problem(USER_NOT_FOUND, "No user has the id 'x'.")`.

    `errors` names the wrong fields: `[{"field": "query.range", "message": "…"}]`. Further keyword arguments become members.
    """

    def __init__(
        self,
        kind: ProblemKind,
        detail: str | None = None,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail or kind.title)
        self.kind = kind
        self.detail = detail or kind.example
        self.errors = errors
        self.headers = dict(headers or {})
        self.members = members
        if kind.status == HTTPStatus.UNAUTHORIZED:
            self.headers.setdefault("WWW-Authenticate", 'Bearer realm="mesocycle"')
        if kind.retry_after_seconds is not None:
            self.headers.setdefault("Retry-After", str(kind.retry_after_seconds))

    def body(self, request_id: str | None = None) -> bytes:
        content: dict[str, Any] = {"type": self.kind.type, "title": self.kind.title, "status": self.kind.status, "detail": self.detail}
        if self.errors:
            content["errors"] = list(self.errors)
        if request_id:
            content["requestId"] = request_id
        return orjson.dumps(content | self.members)

    def response(self, request_id: str | None = None) -> Response:
        headers = {"Cache-Control": "no-store"} | self.headers
        return Response(self.body(request_id), self.kind.status, headers, media_type=MEDIA_TYPE)


class FieldError(BaseModel):
    field: str = Field(examples=["query.range"], description="Where the wrong value stood: path, query, header or body, then its name")
    message: str = Field(examples=["Input should be '7d', '30d', '90d', '365d' or 'all'"])


class ProblemDetails(BaseModel):
    """RFC 9457. Branch on `type`; `title` and `detail` are for people and may change."""

    type: str = Field(examples=[USER_NOT_FOUND.type])
    title: str
    status: int
    detail: str
    requestId: str | None = Field(None, description="The X-Request-Id of this answer, to quote in a report")
    errors: list[FieldError] | None = Field(None, description="Each wrong value")


def schemas() -> dict[str, Any]:
    """OpenAPI schemas that `documented` refers to."""
    schema = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
    return schema.pop("$defs") | {"ProblemDetails": schema}


def method_not_allowed(methods: Sequence[str]) -> Problem:
    allow = ", ".join(methods)
    return Problem(METHOD_NOT_ALLOWED, f"Allowed here: {allow}.", headers={"Allow": allow})


def documented(*kinds: ProblemKind) -> dict[int | str, dict[str, Any]]:
    """OpenAPI `responses` for a route that may answer these problems, besides those that any route may answer."""
    grouped: dict[int, list[ProblemKind]] = {}
    for kind in (*kinds, *ANYWHERE):
        grouped.setdefault(kind.status, []).append(kind)
    return {
        status: {
            "description": "; ".join(dict.fromkeys(kind.title for kind in same)),
            "content": {
                MEDIA_TYPE: {
                    "schema": {"$ref": "#/components/schemas/ProblemDetails"},
                    "examples": {
                        kind.name: {"value": {"type": kind.type, "title": kind.title, "status": status, "detail": kind.example}}
                        for kind in same
                    },
                }
            },
        }
        for status, same in sorted(grouped.items())
    }


ANYWHERE: Final = (BAD_REQUEST, METHOD_NOT_ALLOWED, TIMED_OUT, TOO_LARGE, HEAD_TOO_LARGE, INTERNAL, TOO_SLOW)
"""What may come from any route."""


def problem_of(error: BaseException) -> Problem | None:
    """The problem that an error of the framework or of the database is; None for what nobody expected."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, HTTPException):
        return _of_status(error)
    if isinstance(error, asyncpg.InsufficientPrivilegeError | asyncpg.SyntaxOrAccessError):
        return Problem(NOT_BUILT) if isinstance(error, asyncpg.UndefinedTableError) else None
    if isinstance(error, asyncpg.DataError):
        # A value that got past the parameters' types but that a column can't hold.
        return Problem(INVALID, "A value is outside of what can be stored.")
    if isinstance(error, asyncpg.TooManyConnectionsError):
        return Problem(OVERLOADED)
    if isinstance(error, asyncpg.PostgresConnectionError | asyncpg.OperatorInterventionError):
        return Problem(UNAVAILABLE)
    if isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError):
        return Problem(UNAVAILABLE)
    if isinstance(error, OSError | TimeoutError):
        return Problem(UNAVAILABLE)
    return None


def answerable(error: BaseException, request_id: str | None) -> Problem:
    """The problem that answers this error: INTERNAL, and a line in the log, for what nobody expected."""
    problem = problem_of(error)
    if problem is None:
        log.error("request %s failed", request_id, exc_info=error)
        problem = Problem(INTERNAL)
    return problem


def too_slow(seconds: float) -> Problem:
    """No answer came within the time that a request may take."""
    return Problem(TOO_SLOW, f"No answer within {seconds:g} seconds.")


def _of_status(error: HTTPException) -> Problem:
    kind = BY_STATUS.get(error.status_code)
    if kind is None:
        kind = ProblemKind(f"http-{error.status_code}", error.status_code, HTTPStatus(error.status_code).phrase, "")
    detail = str(error.detail)
    if detail == HTTPStatus(error.status_code).phrase:
        detail = kind.example
    return Problem(kind, detail, headers=error.headers)


def _invalid(error: RequestValidationError) -> Problem:
    faults = error.errors()
    fields = [
        {"field": ".".join(str(part) for part in fault["loc"]), "message": str(fault["msg"]).removeprefix("Value error, ")}
        for fault in faults[:20]
    ]
    if any(fault["type"] == "json_invalid" for fault in faults):
        return Problem(INVALID, "The body is not valid JSON.", errors=fields)
    named = "; ".join(f"{field['field']}: {field['message']}" for field in fields[:3])
    return Problem(INVALID, named[:500] or None, errors=[{key: value[:300] for key, value in field.items()} for field in fields])


def install(application: FastAPI) -> None:
    """Make every error of the application a problem; what nobody expected is logged and answered with 500."""

    async def answer(request: Request, error: Exception) -> Response:
        request_id = request.scope.get("state", {}).get("request_id")
        problem = answerable(error, request_id)
        if problem.kind is METHOD_NOT_ALLOWED:
            # The framework names the methods of the first route that has the path, and neither HEAD nor OPTIONS.
            problem = method_not_allowed(request.app.allowed_methods(request.scope))
        return problem.response(request_id)

    database = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
    for kind in (Problem, RequestValidationError, HTTPException, *database):
        application.add_exception_handler(kind, answer)
    application.add_exception_handler(Exception, answer)
