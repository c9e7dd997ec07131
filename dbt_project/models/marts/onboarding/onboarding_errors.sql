{{
    config(
        materialized="materialized_view",
        pre_hook="{{ onboarding_plan_for_all(true, groups='cells') }}",
        indexes=[
            {
                "columns": [
                    "cohort_on",
                    "segment",
                    "position",
                    "error_code",
                    "segment_by",
                    "grain",
                    "flow",
                    "flow_version",
                ],
                "unique": true,
            }
        ],
        source_version=version_of(["onboarding_error_cells", "onboarding_funnel_cells"]),
        audits=[
            {
                "name": "nobody is both blocked and recovered",
                "sql": "select flow, cohort_on, segment, error_code from {relation} where blocked + recovered > users or hits < users",
            },
        ],
    )
}}
with
    compared as (
        select
            errors.*,
            funnel.step,
            funnel.mature_reached - errors.mature_users as others,
            funnel.mature_completed - errors.mature_completed as others_completed
        from {{ ref("onboarding_error_cells") }} as errors
        join
            {{ ref("onboarding_funnel_cells") }} as funnel
            on funnel.flow = errors.flow
            and funnel.flow_version = errors.flow_version
            and funnel.grain = errors.grain
            and funnel.cohort_on = errors.cohort_on
            and funnel.segment_by = errors.segment_by
            and funnel.segment = errors.segment
            and funnel.position = errors.position
    )

select
    flow,
    flow_version,
    grain,
    cohort_on,
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
    end as drop_odds_ratio
from compared
