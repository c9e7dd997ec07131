"""Ways in: tokens, connection strings, psql."""

import os
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

import typer

from api.tokens import issue_token
from database.connection import Role
from stack.commands.context import CommandError, console, current_home, current_platform
from stack.embedded_postgres import binaries
from stack.home import write_private
from stack.platform import Platform


class ConnectRole(StrEnum):
    ANALYST = "analyst"
    APP = "app"
    OWNER = "owner"


class Scope(StrEnum):
    USER = "user"
    SERVICE = "service"
    ANALYST = "analyst"


def register(app: typer.Typer) -> None:
    app.command()(token)
    app.command("connect")(print_connection)
    app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(psql)


def token(
    user: Annotated[str | None, typer.Argument(help="The user whose data the token opens.")] = None,
    scope: Annotated[Scope, typer.Option(help="user: own data only; service: any user's; analyst: funnels and scorecards.")] = Scope.USER,
    hours: Annotated[float, typer.Option(help="How long it is valid.", min=0.01, max=24 * 30)] = 12,
) -> None:
    """Print a bearer token for the API of this platform, for local use."""
    if scope is Scope.USER and not user:
        raise CommandError("Whose token? As in `mesocycle token test_user`, or `mesocycle token --scope service`.")
    home = current_home()
    if not home.secrets_file.exists():
        raise CommandError(f"No platform was ever started in {home.folder}: `mesocycle up`.")
    private_key = home.secrets()["private_key"]
    print(issue_token(private_key, subject=user or scope.value, scopes=[scope.value], lifetime=timedelta(hours=hours)))


def print_connection(
    role: Annotated[
        ConnectRole, typer.Option(help="analyst reads the marts; app writes what happened; owner may do everything.")
    ] = ConnectRole.ANALYST,
) -> None:
    """Print a connection string for psql, BI tools, notebooks and the app's servers.

    The analyst's and the app's hold their passwords, so that they can be pasted anywhere. The owner's names a password file on this
    machine instead.
    """
    platform = current_platform()
    if role is ConnectRole.OWNER:
        print(_url_with_password_file(platform, Role.OWNER))
        return
    print(platform.url(Role(role.value)))


def _url_with_password_file(platform: Platform, role: Role) -> str:
    """The role's URL without its password: libpq finds it in a file that only its owner may read."""
    from sqlalchemy import make_url  # noqa: PLC0415

    url = make_url(platform.url(role))
    path = platform.home.folder / f"{role}.pgpass"
    escaped = str(url.password).replace("\\", "\\\\").replace(":", "\\:")
    write_private(path, f"{url.host}:{url.port}:*:{url.username}:{escaped}\n")
    return f"postgresql://{url.username}@{url.host}:{url.port}/{url.database}?passfile={path}"


def psql(context: typer.Context) -> None:
    """Open psql as the analyst's role; everything behind it goes to psql, as in `mesocycle psql -c "select 1"`."""
    platform = current_platform()
    program = binaries() / "psql"
    console.file.flush()
    os.execve(program, ["psql", _url_with_password_file(platform, Role.ANALYST), *context.args], dict(os.environ))
