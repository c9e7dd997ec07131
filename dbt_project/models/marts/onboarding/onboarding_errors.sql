{{
    config(
        materialized="maintained_table",
        primary_key=["cohort_on", "segment", "position", "error_code", "segment_by", "grain", "flow", "flow_version"],
        indexes=[{"columns": ["cohort_week_on"]}],
        replaces=["cohort_week_on"],
        pre_hook="{{ onboarding_plan_for_all(groups='cells') }}",
        change_kinds=["onboarding_journeys", "onboarding_step_errors", "onboarding_day_cells"],
    )
}}
with
    {%- if is_partial() %} weeks as materialized {{ changed_keys(["cohort_week_on"]) }}, {%- endif %}
    facts as (
        select
            errors.flow,
            errors.flow_version,
            errors.position,
            errors.error_code,
            journeys.cohort_on,
            journeys.cohort_week_on,
            journeys.platform,
            journeys.app_version,
            journeys.acquisition_channel,
            journeys.is_mature,
            errors.hits,
            errors.is_blocked,
            errors.is_recovered,
            errors.seconds_to_recover,
            errors.is_done
        from {{ ref("onboarding_step_errors") }} as errors
        join
            {{ ref("onboarding_journeys") }} as journeys
            on journeys.person_key = errors.person_key
            and journeys.flow = errors.flow
            and journeys.flow_version = errors.flow_version
        {%- if is_partial() %} where errors.cohort_week_on in (select cohort_week_on from weeks) {%- endif %}
    ),

    counted as (
        select
            flow,
            flow_version,
            position,
            error_code,
            {{ onboarding_cell_names() }},
            count(*) as users,
            sum(hits) as hits,
            count(*) filter (where is_blocked) as blocked,
            count(*) filter (where is_recovered) as recovered,
            percentile_cont(0.5) within group (order by seconds_to_recover) as median_seconds_to_recover,
            count(*) filter (where is_mature) as mature_users,
            count(*) filter (where is_mature and is_done) as mature_completed
        from facts
        group by {{ onboarding_grouping_sets("flow, flow_version, position, error_code") }}
    ),

    compared as (
        select
            errors.*,
            funnel.step,
            funnel.mature_reached - errors.mature_users as others,
            funnel.mature_completed - errors.mature_completed as others_completed
        from counted as errors
        join
            {{ ref("onboarding_funnel_cells") }} as funnel
            on funnel.flow = errors.flow
            and funnel.flow_version = errors.flow_version
            and funnel.grain = errors.grain
            and funnel.cohort_on = errors.cohort_on
            and funnel.segment_by = errors.segment_by
            and funnel.segment = errors.segment
            and funnel.position = errors.position
        {%- if is_partial() %} where funnel.cohort_week_on in (select cohort_week_on from weeks) {%- endif %}
    )

select
    flow,
    flow_version,
    grain,
    cohort_on,
    cohort_week_on,
    segment_by,
    segment,
    position,
    step,
    error_code,
    users,
    hits::bigint as hits,
    blocked,
    recovered,
    median_seconds_to_recover,
    mature_completed / nullif(mature_users, 0)::double precision as conversion_with_error,
    others_completed / nullif(others, 0)::double precision as conversion_without_error,
    case
        when mature_users > 0 and others > 0
        then
            (mature_users - mature_completed + 0.5::double precision)
            / (mature_completed + 0.5)
            * (others_completed + 0.5)
            / (others - others_completed + 0.5)
    end as drop_odds_ratio,
    row_number() over (
        partition by flow, flow_version, grain, cohort_on, segment_by, segment, position
        order by users desc, blocked desc, error_code
    )
    = 1 as is_top
from compared
