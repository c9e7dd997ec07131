"""What Python reads of onboarding's marts: whole answers as JSON, made by Postgres."""

from typing import Final

from database.json_names import camel

FUNNEL_COLUMNS: Final = (
    "position", "step", "is_required", "entered", "mature_entered", "reached", "completed", "skipped", "dropped", "in_progress",
    "conversion_from_start", "conversion_from_start_low", "conversion_from_start_high",
    "conversion_from_previous", "conversion_from_previous_low", "conversion_from_previous_high",
    "conversion_from_start_change", "conversion_from_previous_change",
    "average_seconds", "p25_seconds", "median_seconds", "p75_seconds", "p90_seconds", "p95_seconds",
    "users_with_errors", "blocked", "recovered", "top_error",
)  # fmt: skip
ERROR_COLUMNS: Final = (
    "position", "step", "error_code", "users", "hits", "blocked", "recovered", "median_seconds_to_recover",
    "conversion_with_error", "conversion_without_error", "drop_odds_ratio",
)  # fmt: skip


def _members(columns: tuple[str, ...]) -> str:
    return ", ".join(f'rows.{column} as "{camel(column)}"' for column in columns)


def _answer(relation: str, columns: tuple[str, ...], member: str) -> str:
    """Parameters: flow, version or null, first and last cohort or null, grain, segment_by. One row, one text."""
    return f"""
with wanted as (
  select $1::text as flow, coalesce($2::int, (select max(flow_version) from marts.onboarding_funnel where flow = $1)) as flow_version
),
about as (
  select max(funnel.data_through) as data_through, max(funnel.window_seconds) as window_seconds
  from wanted join marts.onboarding_funnel as funnel on funnel.flow = wanted.flow and funnel.flow_version = wanted.flow_version
),
listed as (
  select coalesce(json_agg(entry order by entry.cohort, entry.segment, entry.position), '[]') as entries
  from (
    select rows.cohort_on as cohort, rows.segment, {_members(columns)}
    from marts.{relation} as rows join wanted on rows.flow = wanted.flow and rows.flow_version = wanted.flow_version
    where rows.grain = $5::text and rows.segment_by = $6::text
      and ($3::date is null or rows.cohort_on >= $3) and ($4::date is null or rows.cohort_on <= $4)
  ) as entry
)
select json_build_object(
  'flow', wanted.flow, 'flowVersion', wanted.flow_version, 'grain', $5::text, 'segmentBy', $6::text,
  'asOf', (
    select to_char(as_of at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    from ops.builds where kind = 'marts' and succeeded order by build_key desc limit 1
  ),
  'dataThrough', to_char(about.data_through at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
  'windowSeconds', about.window_seconds,
  '{member}', listed.entries
)::text
from wanted cross join about cross join listed
"""  # noqa: S608 - names come from this module only


READ_FUNNEL: Final = _answer("onboarding_funnel", FUNNEL_COLUMNS, "steps")
READ_ERRORS: Final = _answer("onboarding_errors", ERROR_COLUMNS, "errors")
