{{
    config(
        materialized="maintained_table",
        primary_key=["user_key", "rank"],
        replaces=["user_key"],
        rebuild_share=0.5,
        change_kinds=["workout", "user", "exercise", "day", "arrival"],
    )
}}
-- depends_on: {{ ref("changes") }}
with
    people as materialized(
        select
            user_key,
            ({{ as_of() }} at time zone time_zone)::date as today_on,
            {{ week_number("(" ~ as_of() ~ " at time zone time_zone)::date") }} - 51 as first_week
        from {{ ref("user_zones") }}
        {%- if is_partial() %} where user_key in {{ changed_keys(["user_key"]) }} {%- endif %}
    ),

    -- The best e1RM of each week; weeks of the year are numbered from 0 to 51, which is this week.
    weekly as (
        select
            sessions.user_key,
            sessions.exercise_key,
            {{ week_number("sessions.local_date") }} - people.first_week as week,
            min(people.first_week) as first_week,
            count(*)::int as sessions,
            max(sessions.e1rm_kg) as e1rm_kg
        from {{ ref("exercise_sessions") }} as sessions
        join people on people.user_key = sessions.user_key
        where
            sessions.e1rm_kg > 0
            and sessions.local_date <= people.today_on
            and {{ week_number("sessions.local_date") }} >= people.first_week
            {%- if is_partial() %} and sessions.started_at >= {{ earliest_start("people.today_on - 364") }} {%- endif %}
        group by sessions.user_key, sessions.exercise_key, week
    ),

    -- Sums of whole numbers (e1RM in units of 1e-8 kg), so that the line doesn't depend on the order of rows.
    lifts as (
        select
            user_key,
            exercise_key,
            coalesce(sum(sessions) filter (where week >= 40), 0)::int as sessions_12w,
            sum(sessions)::int as sessions_52w,
            max(e1rm_kg) as e1rm_kg,
            array_agg({{ monday_of("first_week + week") }} order by week) as weeks_on,
            array_agg(e1rm_kg order by week) as weekly_e1rm_kg,
            {%- for name, filter in [("12w", " filter (where week >= 40)"), ("52w", "")] %}
                count(*) {{ filter }} as n_{{ name }},
                min(week) {{ filter }} as first_{{ name }},
                max(week) {{ filter }} as last_{{ name }},
                sum(week) {{ filter }} as x_{{ name }},
                sum(week * week) {{ filter }} as xx_{{ name }},
                sum(round(e1rm_kg * 100000000)) {{ filter }} as y_{{ name }},
                sum(week * round(e1rm_kg * 100000000)) {{ filter }} as xy_{{ name }}
                {%- if not loop.last %},{% endif %}
            {%- endfor %}
        from weekly
        group by user_key, exercise_key
    ),
    ranked as (
        select
            lifts.*,
            case when lifts.exercise_key <= 100000 then exercises.exercise_id else 'custom' end as exercise_id,
            case
                when lifts.exercise_key <= 100000 then exercises.exercise_name else '(custom exercise)'
            end as exercise_name,
            row_number() over (
                partition by lifts.user_key
                order by lifts.sessions_12w desc, lifts.sessions_52w desc, lifts.e1rm_kg desc, lifts.exercise_key
            ) as rank
        from lifts
        join {{ ref("stg_exercises") }} as exercises on exercises.exercise_key = lifts.exercise_key
        where exercises.load_type <> 'assisted'
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
        from ranked
        where rank <= 5
    )

select
    user_key,
    rank::int as rank,
    exercise_key,
    exercise_id,
    exercise_name,
    sessions_12w,
    sessions_52w,
    e1rm_kg,
    weekly_e1rm_kg[cardinality(weekly_e1rm_kg)] as latest_e1rm_kg,
    weeks_on[cardinality(weeks_on)] as latest_week_on,
    {%- for name in ("12w", "52w") %}
        slope_{{ name }} / 100000000 as slope_{{ name }}_kg_per_week,
        100
        * slope_{{ name }}
        * (last_{{ name }} - first_{{ name }})
        / nullif(
            greatest(
                (y_{{ name }} + slope_{{ name }} * (n_{{ name }} * first_{{ name }} - x_{{ name }})) / n_{{ name }}, 0
            ),
            0
        ) as trend_{{ name }}_pct,
    {%- endfor %}
    weeks_on,
    weekly_e1rm_kg
from lines
