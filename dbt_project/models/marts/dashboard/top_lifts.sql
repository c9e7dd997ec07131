{{
    config(
        materialized="maintained_table",
        primary_key=["user_key", "rank"],
        replaces=["user_key"],
        change_kinds=["workout", "user", "exercise", "day", "arrival"],
    )
}}
-- depends_on: {{ ref("changes") }}
{%- set lifts = 5 %}
with
    people as (
        select user_key, ({{ as_of() }} at time zone time_zone)::date as today_on
        from {{ ref("user_zones") }}
        {%- if is_partial() %} where user_key in {{ changed_keys(["user_key"]) }} {%- endif %}
    ),

    -- The best e1RM of each week; weeks of the year are numbered from 0 to 51, which is this week.
    weekly as materialized(
        select
            sessions.user_key,
            sessions.exercise_key,
            51 - ({{ week_number("people.today_on") }} - {{ week_number("sessions.local_date") }}) as week,
            {{ week_of("sessions.local_date") }} as week_on,
            count(*)::int as sessions,
            max(sessions.e1rm_kg) as e1rm_kg
        from people
        join {{ ref("exercise_sessions") }} as sessions on sessions.user_key = people.user_key
        where
            sessions.e1rm_kg > 0
            and sessions.local_date <= people.today_on
            and sessions.local_date >= {{ week_of("people.today_on") }} - 7 * 51
        group by sessions.user_key, sessions.exercise_key, week, week_on
    ),

    performed as (
        select
            user_key,
            exercise_key,
            coalesce(sum(sessions) filter (where week >= 40), 0)::int as sessions_12w,
            sum(sessions)::int as sessions_52w,
            max(e1rm_kg) as e1rm_kg
        from weekly
        group by user_key, exercise_key
    ),
    ranked as (
        select
            performed.*,
            case when performed.exercise_key <= 100000 then exercises.exercise_id else 'custom' end as exercise_id,
            case
                when performed.exercise_key <= 100000 then exercises.exercise_name else '(custom exercise)'
            end as exercise_name,
            row_number() over (
                partition by performed.user_key
                order by
                    performed.sessions_12w desc,
                    performed.sessions_52w desc,
                    performed.e1rm_kg desc,
                    performed.exercise_key
            ) as rank
        from performed
        join {{ ref("stg_exercises") }} as exercises on exercises.exercise_key = performed.exercise_key
        where exercises.load_type <> 'assisted'
    ),
    lifts as (select * from ranked where rank <= {{ lifts }}),

    -- Sums of whole numbers (e1RM in units of 1e-8 kg), so that the line doesn't depend on the order of rows.
    sums as (
        select
            weekly.user_key,
            weekly.exercise_key,
            array_agg(weekly.week_on order by weekly.week) as weeks_on,
            array_agg(weekly.e1rm_kg order by weekly.week) as weekly_e1rm_kg,
            {%- for name, filter in [("12w", " filter (where weekly.week >= 40)"), ("52w", "")] %}
                count(*) {{ filter }} as n_{{ name }},
                min(weekly.week) {{ filter }} as first_{{ name }},
                max(weekly.week) {{ filter }} as last_{{ name }},
                sum(weekly.week) {{ filter }} as x_{{ name }},
                sum(weekly.week * weekly.week) {{ filter }} as xx_{{ name }},
                sum(round(weekly.e1rm_kg * 100000000)) {{ filter }} as y_{{ name }},
                sum(weekly.week * round(weekly.e1rm_kg * 100000000)) {{ filter }} as xy_{{ name }}
                {%- if not loop.last %},{% endif %}
            {%- endfor %}
        from weekly
        join lifts on lifts.user_key = weekly.user_key and lifts.exercise_key = weekly.exercise_key
        group by weekly.user_key, weekly.exercise_key
    ),
    lines as (
        select
            *,
            {%- for name in ("12w", "52w") %}
                case
                    when n_{{ name }} >= 3
                    then
                        (n_{{ name }} * xy_{{ name }} - x_{{ name }} * y_{{ name }})
                        / (n_{{ name }} * xx_{{ name }} - x_{{ name }} * x_{{ name }})
                end as slope_{{ name }}
                {%- if not loop.last %},{% endif %}
            {%- endfor %}
        from sums
    )

select
    lifts.user_key,
    lifts.rank::int as rank,
    lifts.exercise_key,
    lifts.exercise_id,
    lifts.exercise_name,
    lifts.sessions_12w,
    lifts.sessions_52w,
    lifts.e1rm_kg,
    lines.weekly_e1rm_kg[cardinality(lines.weekly_e1rm_kg)] as latest_e1rm_kg,
    lines.weeks_on[cardinality(lines.weeks_on)] as latest_week_on,
    {%- for name in ("12w", "52w") %}
        lines.slope_{{ name }} / 100000000 as slope_{{ name }}_kg_per_week,
        100
        * lines.slope_{{ name }}
        * (lines.last_{{ name }} - lines.first_{{ name }})
        / nullif(
            greatest(
                (
                    lines.y_{{ name }}
                    + lines.slope_{{ name }} * (lines.n_{{ name }} * lines.first_{{ name }} - lines.x_{{ name }})
                )
                / lines.n_{{ name }},
                0
            ),
            0
        ) as trend_{{ name }}_pct,
    {%- endfor %}
    lines.weeks_on,
    lines.weekly_e1rm_kg
from lifts
join lines on lines.user_key = lifts.user_key and lines.exercise_key = lifts.exercise_key
