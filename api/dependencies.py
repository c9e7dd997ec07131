"""What routes ask for: the caller, the user whose data it is, the database, limits."""

from typing import Annotated, Any

from fastapi import Depends, Path, Request, Security
from fastapi.security import HTTPBearer
from pydantic import AfterValidator, BaseModel, ConfigDict, WithJsonSchema
from pydantic.alias_generators import to_camel

from api.auth import Principal, Scope, Verifier
from api.errors import FORBIDDEN, Problem
from api.guard import KEPT_SLASH
from api.payloads import PayloadReader
from api.postgres import Database
from api.rate_limits import WriteLimiter

bearer = HTTPBearer(
    auto_error=False,
    bearerFormat="JWT",
    scheme_name="token",
    description="A JSON Web Token (RS256, ES256 or EdDSA) with issuer, audience, subject, expiry and `scope`: "
    "`user` opens the subject's own data, `service` every user's, `analyst` aggregates.",
)


class Shape(BaseModel):
    """Base of every request's and response's shape: snake_case here, camelCase on the wire."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")


def without_control_characters(value: str) -> str:
    """`value`, unless it holds a control character or half a surrogate pair: Postgres stores neither in an id."""
    value = value.replace(KEPT_SLASH, "/")
    if any(character < " " or "\x7f" <= character <= "\x9f" or "\ud800" <= character <= "\udfff" for character in value):
        raise ValueError("It must not contain control characters.")
    return value


SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))

UserId = Annotated[
    str,
    AfterValidator(without_control_characters),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 128, "pattern": r"^[^\u0000-\u001f\u007f-\u009f]+$"}),
]
"""A user's id in a body (add Field(min_length=1, max_length=128) there) or a path."""


async def authenticate(request: Request, _: Annotated[Any, Security(bearer)] = None) -> Principal:
    """The caller; Problem UNAUTHENTICATED without a valid token, TOO_MANY where it writes too often."""
    verifier: Verifier = request.app.state.verifier
    authorization = next((value for name, value in request.scope["headers"] if name == b"authorization"), None)
    caller = await verifier.verify(authorization)
    if request.method not in SAFE_METHODS:
        limiter: WriteLimiter = request.app.state.write_limiter
        limiter.count(caller)
    return caller


Caller = Annotated[Principal, Depends(authenticate)]


def requires(*scopes: Scope) -> Any:
    """A route's declaration: `dependencies=[requires(Scope.ANALYST)]`, or a parameter's default to get the Principal."""

    async def check(caller: Caller) -> Principal:
        caller.require(*scopes)
        return caller

    return Depends(check)


async def own_user_id(
    caller: Caller,
    user_id: Annotated[
        UserId,
        Path(alias="userId", min_length=1, max_length=128, description="The app's id of the user", examples=["test_user"]),
    ],
) -> str:
    """The user in the path, if the caller may open its data; Problem FORBIDDEN else, whether or not there is such a user."""
    open_to(caller, user_id)
    return user_id


def open_to(caller: Principal, user_id: str) -> None:
    """Problem FORBIDDEN unless the caller may read and write this user's data."""
    if not caller.may_open(user_id):
        if not caller.scopes.intersection((Scope.USER, Scope.SERVICE)):
            caller.require(Scope.USER, Scope.SERVICE)
        raise Problem(FORBIDDEN, "This token opens its own user's data only.")


OwnUserId = Annotated[str, Depends(own_user_id)]


def database_of(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


def reader_of(request: Request) -> PayloadReader:
    reader: PayloadReader = request.app.state.reader
    return reader


Postgres = Annotated[Database, Depends(database_of)]
Payloads = Annotated[PayloadReader, Depends(reader_of)]


def hold_open(request: Request, seconds: float) -> None:
    """Let this request take `seconds` more than others may (a call that waits for a change)."""
    patience = request.scope["state"]["patience"]
    patience.reschedule(patience.when() + seconds)
