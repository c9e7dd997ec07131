"""A user's plan over HTTP: what the engine stored, in the documented shape, with an ETag that follows the plan."""

import asyncio
import datetime
import json

from api.routes.plans import Plan
from database.catalogue import publish_catalogue
from database.plan_documents import current_plan, render
from database.plans import regenerate_for_users
from tests.api.conftest import AS_OF, Keys, serving, settings_for


def test_the_current_plan_is_served_until_a_newer_one_takes_its_place(database, keys: Keys) -> None:
    with database.connect() as connection:
        publish_catalogue(connection)
        (user_key,) = connection.execute("insert into app.users (user_id) values ('lifter') returning user_key").fetchone()
        connection.execute("insert into app.users (user_id) values ('idle')")
        connection.execute(
            "insert into app.profiles (user_key, equipment, days_per_week) values (%s, '{barbell,dumbbell,bench,rack}', 3)", [user_key]
        )

    def plan(as_of: datetime.datetime) -> dict:
        with database.connect(autocommit=False) as connection:
            regenerate_for_users(connection, [user_key], as_of=as_of)
            connection.commit()
            row = current_plan(connection, user_key)
            assert row is not None
            return json.loads(render("lifter", row))

    async def run():
        async with serving(settings_for(database, keys)) as client:

            async def get(user: str, **headers: str):
                return await client.get(f"/api/v1/plans/{user}", headers=keys.header(user) | headers)

            missing = [await get("lifter"), await get("nobody")]
            first_plan = await asyncio.to_thread(plan, AS_OF)
            first, again = await get("lifter"), await get("lifter")
            same = await get("lifter", **{"If-None-Match": first.headers["etag"]})
            with database.connect() as connection:
                connection.execute("update app.profiles set days_per_week = 4 where user_key = %s", [user_key])
            second_plan = await asyncio.to_thread(plan, AS_OF + datetime.timedelta(hours=1))
            return missing, first_plan, first, again, same, second_plan, await get("lifter", **{"If-None-Match": first.headers["etag"]})

    missing, first_plan, first, again, same, second_plan, second = asyncio.run(run())
    assert [response.status_code for response in missing] == [404, 404]
    assert [response.json()["type"].rpartition(":")[2] for response in missing] == ["plan-not-found", "user-not-found"]
    assert first.json() == first_plan
    assert first.content == again.content
    assert Plan.model_validate(first.json()).weeks
    assert same.status_code == 304
    assert second.status_code == 200
    assert second.json() == second_plan
    assert second.headers["etag"] != first.headers["etag"]
