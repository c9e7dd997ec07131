"""What is said of the funnel in Dagster: which conversions fell, by a two-proportion test, and the chart. Pure functions."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import erfc, sqrt
from typing import Final

RECENT_DAYS: Final = 7
BASELINE_DAYS: Final = 28
SIGNIFICANCE: Final = 0.01
"""Chance that any alarm of a build is false, over all steps and segments (Holm 1979, Scand. J. Statist. 6:65)."""
LEAST_PEOPLE: Final = 30
"""On either side; with fewer the normal approximation means nothing."""


@dataclass(frozen=True)
class Comparison:
    """One step in one segment: people who came to it and who got past it, in the recent days and in the four weeks before them."""

    flow: str
    flow_version: int
    step: str
    segment_by: str
    segment: str
    recent_past: int
    recent_came: int
    baseline_past: int
    baseline_came: int
    top_error: str | None = None

    @property
    def recent(self) -> float:
        return self.recent_past / self.recent_came

    @property
    def baseline(self) -> float:
        return self.baseline_past / self.baseline_came

    @property
    def is_comparable(self) -> bool:
        return min(self.recent_came, self.baseline_came) >= LEAST_PEOPLE

    @property
    def p_value(self) -> float:
        """One-sided: how likely so low a share is if nothing changed (pooled two-proportion z test)."""
        pooled = (self.recent_past + self.baseline_past) / (self.recent_came + self.baseline_came)
        deviation = sqrt(pooled * (1 - pooled) * (1 / self.recent_came + 1 / self.baseline_came))
        if deviation == 0:
            return 1.0
        return erfc((self.baseline - self.recent) / deviation / sqrt(2)) / 2

    def sentence(self) -> str:
        where = "" if self.segment_by == "(all)" else f" of {self.segment_by.replace('_', ' ')} {self.segment}"
        error = f"; most stopped by the error {self.top_error}" if self.top_error else ""
        return (
            f"{self.flow} {self.flow_version}, step {self.step}{where}: {self.recent:.1%} of {self.recent_came} got past it, "
            f"{self.baseline:.1%} of {self.baseline_came} in the four weeks before (p = {self.p_value:.2g}){error}."
        )


def fallen(comparisons: Sequence[Comparison], significance: float = SIGNIFICANCE) -> list[Comparison]:
    """Those that fell significantly, the surest first; Holm's procedure holds the chance of any false alarm at `significance`."""
    ranked = sorted((each for each in comparisons if each.is_comparable), key=lambda each: each.p_value)
    found = []
    for number, each in enumerate(ranked):
        if each.p_value > significance / (len(ranked) - number):
            break
        found.append(each)
    return found


COMPARISONS: Final = """
with through as (
  select flow, flow_version, max(cohort_on) as last_on
  from marts.onboarding_funnel where grain = 'day' and segment_by = '(all)' and position = 1 and mature_entered = entered
  group by flow, flow_version
),
days as (
  select funnel.*, funnel.cohort_on > through.last_on - %(recent)s as is_recent
  from marts.onboarding_funnel as funnel
  join through on through.flow = funnel.flow and through.flow_version = funnel.flow_version
  where funnel.grain = 'day' and funnel.cohort_on <= through.last_on and funnel.cohort_on > through.last_on - %(recent)s - %(baseline)s
),
stopping as (
  select distinct on (flow, flow_version, segment_by, segment, step)
    flow, flow_version, segment_by, segment, step, error_code
  from (
    select errors.flow, errors.flow_version, errors.segment_by, errors.segment, errors.step, errors.error_code,
      sum(errors.blocked) as blocked
    from marts.onboarding_errors as errors
    join through on through.flow = errors.flow and through.flow_version = errors.flow_version
    where errors.grain = 'day' and errors.cohort_on <= through.last_on and errors.cohort_on > through.last_on - %(recent)s
    group by errors.flow, errors.flow_version, errors.segment_by, errors.segment, errors.step, errors.error_code
  ) as counted
  where blocked > 0
  order by flow, flow_version, segment_by, segment, step, blocked desc, error_code
)
select
  days.flow, days.flow_version, days.step, days.segment_by, days.segment,
  coalesce(sum(mature_completed) filter (where is_recent), 0)::bigint, coalesce(sum(mature_previous) filter (where is_recent), 0)::bigint,
  coalesce(sum(mature_completed) filter (where not is_recent), 0)::bigint, coalesce(sum(mature_previous) filter (where not is_recent), 0)::bigint,
  max(stopping.error_code)
from days
left join stopping
  on stopping.flow = days.flow and stopping.flow_version = days.flow_version and stopping.segment_by = days.segment_by
  and stopping.segment = days.segment and stopping.step = days.step
where days.is_required
group by days.flow, days.flow_version, days.position, days.step, days.segment_by, days.segment
order by days.flow, days.flow_version, days.position, days.segment_by, days.segment
"""
"""The newest seven cohort days whose windows are over, and the four weeks before them; columns as Comparison's."""

TOTALS: Final = """
select flow || ' ' || flow_version, step, sum(completed)::bigint, sum(entered)::bigint
from marts.onboarding_funnel
where grain = 'day' and segment_by = '(all)' and cohort_on > (data_through at time zone 'UTC')::date - 28
group by flow, flow_version, position, step order by flow, flow_version, position
"""
"""What the chart shows: people per step, cohorts of the last four weeks."""


def chart(title: str, people: Mapping[str, int], entered: int) -> str:
    """The funnel as an SVG: a bar per step, as long as the share of those who entered."""
    row, left, width = 26, 150, 520
    bars = []
    for number, (step, count) in enumerate(people.items()):
        share = count / entered if entered else 0.0
        y = 30 + number * row
        bars.append(
            f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{escape(step)}</text>'
            f'<rect x="{left}" y="{y}" width="{max(share * width, 1):.1f}" height="{row - 8}" fill="#4f46e5" fill-opacity="{0.45 + share / 2:.2f}"/>'
            f'<text x="{left + share * width + 6:.1f}" y="{y + 14}">{count:,} ({share:.1%})</text>'
        )
    height = 40 + len(people) * row
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 130}" height="{height}" font-family="sans-serif" font-size="12">'
        f'<rect width="100%" height="100%" fill="white"/><text x="8" y="18" font-weight="bold">{escape(title)}: {entered:,} entered</text>'
        f"{''.join(bars)}</svg>"
    )


def as_markdown(svg: str, alternative: str) -> str:
    """The chart as Dagster's markdown metadata shows it."""
    return f"![{alternative}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"
