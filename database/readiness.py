"""What Python reads of the scorecard: the whole answer as one JSON text, made by Postgres; for the API and for `mesocycle readiness`."""

from typing import Final

from database.json_names import camel

COLUMNS: Final = (
    *("criterion", "label", "description", "unit", "direction", "target", "baseline", "value", "window_days", "sample"),
    *("trend", "trend_means", "is_met", "verdict", "since_on", "last_met_on", "evidence"),
)


READ: Final = f"""
select json_build_object(
  'asOf', to_char(max(as_of) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
  'isReady', coalesce(bool_and(is_met), false),
  'missing', coalesce(json_agg(criterion order by position) filter (where not is_met), '[]'),
  'criteria', coalesce(json_agg(json_build_object({", ".join(f"'{camel(column)}', {column}" for column in COLUMNS)}) order by position), '[]')
)::text
from marts.readiness_scorecard
"""  # noqa: S608 - names come from this module only
"""One row, one text; an empty scorecard is not ready."""
