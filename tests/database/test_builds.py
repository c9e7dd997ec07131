"""Builds of one database run one after another; who reads between them sees one finished build."""

import datetime

import pytest

from database.builds import BuildRunning, between_builds, build
from database.connection import Role

AS_OF = datetime.datetime(2024, 5, 1, tzinfo=datetime.UTC)


def test_a_reader_between_builds_waits_for_the_one_that_runs(database):
    with (
        build(database.url, kind="marts", as_of=AS_OF),
        pytest.raises(BuildRunning),
        between_builds(database.urls[Role.PIPELINE], wait_seconds=1),
    ):
        pass


def test_a_reader_between_builds_holds_up_none_and_does_not_see_it(database):
    builds = "select count(*) from ops.builds"
    with between_builds(database.urls[Role.PIPELINE]) as reader:
        with build(database.url, kind="marts", as_of=AS_OF, wait_seconds=1):
            pass
        assert reader.execute(builds).fetchone() == (0,)
    with between_builds(database.urls[Role.PIPELINE]) as reader:
        assert reader.execute(builds).fetchone() == (1,)
