"""FastAPI with SQLAlchemy's asyncio extension, as its documentation shows it: a session per request, one row by key. No token is asked."""

import os
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Response
from sqlalchemy import BigInteger, Text, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

engine = create_async_engine(os.environ["PEER_DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://"), pool_size=20)
sessions = async_sessionmaker(engine, expire_on_commit=False)
app = FastAPI()


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    __table_args__ = {"schema": "app"}  # noqa: RUF012
    user_key: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    user_id: Mapped[str] = mapped_column(Text)


class UserPayload(Base):
    __tablename__ = "user_payloads"
    __table_args__ = {"schema": "marts"}  # noqa: RUF012
    user_key: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    resource: Mapped[str] = mapped_column(Text, primary_key=True)
    payload: Mapped[str] = mapped_column(Text)


async def session() -> AsyncIterator[AsyncSession]:
    async with sessions() as opened:
        yield opened


@app.get("/api/v1/summary/{user_id}")
async def read_summary(user_id: str, opened: Annotated[AsyncSession, Depends(session)], range: str = "30d") -> Response:
    query = (
        select(UserPayload)
        .join(User, User.user_key == UserPayload.user_key)
        .where(User.user_id == user_id, UserPayload.resource == f"summary/{range}")
    )
    found = await opened.scalar(query)
    if found is None:
        raise HTTPException(404)
    return Response(found.payload, media_type="application/json")
