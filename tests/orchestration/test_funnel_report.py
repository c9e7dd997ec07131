"""The warning about a fallen conversion: it comes when a share fell for certain, names where and by what, and else stays silent."""

import base64
import datetime
import random
import uuid
from dataclasses import replace
from math import comb
from xml.etree import ElementTree

import dagster as dg
import pytest

from database.connection import Role
from orchestration.defs.onboarding.funnel import KEY, onboarding_funnel_report
from orchestration.funnel_report import Comparison, as_markdown, chart, fallen
from orchestration.resources import Warehouse
from tests.conftest import Database
from tests.dbt_project.support import run_dbt

STEADY = Comparison("onboarding", 1, "goal", "platform", "ios", 900, 1000, 3600, 4000)


def test_the_p_value_is_close_to_the_exact_chance_of_so_few() -> None:
    """Against Fisher's exact test: the chance of at most so many successes among the recent, given all successes."""
    for past, came, before_past, before_came in [(150, 200, 680, 800), (80, 100, 330, 400), (40, 60, 180, 240)]:
        total, successes = came + before_came, past + before_past
        exact = sum(comb(successes, k) * comb(total - successes, came - k) for k in range(past + 1)) / comb(total, came)
        found = replace(STEADY, recent_past=past, recent_came=came, baseline_past=before_past, baseline_came=before_came).p_value
        assert found == pytest.approx(exact, rel=0.5, abs=0.02)
        assert found < exact * 1.02  # the exact one counts the observed value whole


def test_steady_and_rising_shares_and_small_groups_raise_no_alarm() -> None:
    risen = replace(STEADY, recent_past=980)
    tiny = replace(STEADY, recent_past=1, recent_came=20)
    nobody = replace(STEADY, recent_past=0, recent_came=0)
    certain = replace(STEADY, recent_past=1000, baseline_past=4000)
    assert fallen([STEADY, risen, tiny, nobody, certain]) == []


def test_a_fall_is_named_with_step_segment_and_error_the_surest_first() -> None:
    deep = replace(STEADY, recent_past=500, top_error="timeout")
    shallow = replace(STEADY, segment="android", recent_past=840)
    found = fallen([STEADY, shallow, deep])
    assert found == [deep, shallow]
    sentence = deep.sentence()
    assert all(word in sentence for word in ("goal", "platform ios", "50.0%", "90.0%", "timeout"))


def test_false_alarms_stay_as_rare_as_promised_however_many_segments_are_compared() -> None:
    chance = random.Random(3)

    def binomial(trials: int, share: float) -> int:
        return sum(chance.random() < share for _ in range(trials))

    alarms = 0
    for _ in range(60):
        comparisons = [
            replace(
                STEADY, segment=str(n), recent_past=binomial(60, 0.8), recent_came=60, baseline_past=binomial(240, 0.8), baseline_came=240
            )
            for n in range(40)
        ]
        alarms += bool(fallen(comparisons))
    assert alarms <= 5, "1 % of 60 builds would be less than one"


def test_the_chart_is_an_image_with_a_bar_per_step() -> None:
    svg = chart("onboarding <1>", {"welcome": 200, "goal & more": 50, "preview": 0}, 200)
    root = ElementTree.fromstring(svg)
    widths = [float(rect.get("width", "0")) for rect in root.iter("{http://www.w3.org/2000/svg}rect") if rect.get("fill-opacity")]
    assert widths == [520.0, 130.0, 1.0]
    markdown = as_markdown(svg, "funnel")
    assert base64.b64decode(markdown.split("base64,")[1].rstrip(")")).decode() == svg


def test_a_broken_step_in_the_data_is_found_through_the_marts(database: Database) -> None:
    """Android's account step begins to fail with `email_taken` in the last week whose windows are over."""
    as_of = datetime.datetime(2024, 6, 30, tzinfo=datetime.UTC)
    events = []
    for day in range(15, 55):
        for person in range(40):
            at = as_of - datetime.timedelta(days=day, minutes=person)
            platform = "android" if person % 2 else "ios"
            breaks = day < 22 and platform == "android" and person % 4 == 1
            kinds = [("welcome", "completed", None)]
            kinds += [("account", "error", "email_taken")] if breaks else [("account", "completed", None), ("goal", "completed", None)]
            for number, (step, kind, code) in enumerate(kinds):
                when = at + datetime.timedelta(seconds=30 * number)
                events.append((str(uuid.uuid4()), f"device-{day}-{person}", step, kind, when, code, platform))
    with database.connect() as connection:
        connection.cursor().executemany(
            "insert into app.onboarding_events (event_id, anonymous_id, step, event_type, occurred_at, error_code, platform) "
            "values (%s, %s, %s, %s, %s, %s, %s)",
            events,
        )
    run_dbt(database, "build", "--select", "+onboarding_funnel", "+onboarding_errors", as_of=as_of)
    warehouse = Warehouse(owner_url=database.url, pipeline_url=database.urls[Role.PIPELINE])
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [onboarding_funnel_report],
            selection=dg.AssetSelection.checks(onboarding_funnel_report),
            resources={"warehouse": warehouse},
            instance=instance,
        )
        (evaluation,) = result.get_asset_check_evaluations()
        observed = instance.fetch_observations(KEY, limit=1).records
    assert not evaluation.passed
    assert evaluation.severity is dg.AssetCheckSeverity.WARN
    sentences = evaluation.metadata["fallen"].value
    assert "account of platform android" in sentences[0]
    assert "email_taken" in sentences[0]
    assert all("step account" in sentence for sentence in sentences)
    assert observed, "the asset shows no chart"
    assert "image/svg+xml" in observed[0].asset_observation.metadata["chart onboarding 1"].value  # type: ignore[union-attr]
