{{
    config(
        materialized="materialized_view",
        indexes=[{"columns": ["week_on", "segment_by", "segment", "feature"], "unique": true}],
        source_version=analytics_version(),
        audits=[
            {
                "name": "no more users of a feature than active users",
                "sql": "select week_on, segment, feature from {relation} where users > active_users or users < 0",
            },
        ],
    )
}}
with
    -- A user's week belongs to the platform and version that were used last in it: the greatest of the texts that begin
    -- with the day, because ordered aggregates would sort everybody's days.
    user_weeks as (
        select
            user_key,
            week_on,
            sum(dashboard_opens) as dashboard_opens,
            sum(records_opens) as records_opens,
            sum(plan_opens) as plan_opens,
            sum(workout_opens) as workout_opens,
            {%- for column in ["platform", "app_version"] %}
                coalesce(
                    substr(max((local_date::text || {{ column }}) collate "C") filter (where opens > 0), 11), '(none)'
                ) as {{ column }}
                {%- if not loop.last %},{% endif %}
            {%- endfor %}
        from {{ ref("user_activity_days") }}
        where local_date <= {{ today_on() }}
        group by user_key, week_on
    ),

    segments as (
        select
            week_on,
            case
                when grouping(platform) = 0
                then 'platform'
                when grouping(app_version) = 0
                then 'app_version'
                else '(all)'
            end as segment_by,
            case
                when grouping(platform) = 0 then platform when grouping(app_version) = 0 then app_version else '(all)'
            end as segment,
            count(*) as active_users,
            count(*) filter (where dashboard_opens > 0) as dashboard_users,
            count(*) filter (where records_opens > 0) as records_users,
            count(*) filter (where plan_opens > 0) as plan_users,
            count(*) filter (where workout_opens > 0) as workout_users,
            sum(dashboard_opens) as dashboard_opens,
            sum(records_opens) as records_opens,
            sum(plan_opens) as plan_opens,
            sum(workout_opens) as workout_opens
        from user_weeks
        group by grouping sets ((week_on), (week_on, platform), (week_on, app_version))
    ),

    features as (
        select
            segments.week_on,
            segments.segment_by,
            segments.segment,
            feature.name as feature,
            segments.active_users,
            feature.users,
            feature.opens::bigint as opens,
            feature.users / segments.active_users::double precision as share
        from segments
        cross join
            lateral(
                values
                    ('dashboard', dashboard_users, dashboard_opens),
                    ('records', records_users, records_opens),
                    ('plan', plan_users, plan_opens),
                    ('workout', workout_users, workout_opens)
            ) as feature(name, users, opens)
    )

select
    features.week_on,
    -- The last place on earth where it is still the week's Sunday lives 12 hours behind UTC.
    features.week_on + 6 < ({{ as_of() }} at time zone 'Etc/GMT+12')::date as is_complete,
    features.segment_by,
    features.segment,
    features.feature,
    features.active_users,
    features.users,
    features.opens,
    features.share,
    features.share - previous.share as share_change
from features
left join
    features as previous
    on previous.week_on = features.week_on - 7
    and previous.segment_by = features.segment_by
    and previous.segment = features.segment
    and previous.feature = features.feature
