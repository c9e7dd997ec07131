{{
    config(
        materialized="maintained_table",
        primary_key=["user_key", "exercise_key", "session_number"],
        replaces=["user_key"],
        change_kinds=["workout", "exercise", "user", "arrival"],
        emits=["user_key", "local_date"],
    )
}}
-- depends_on: {{ ref("changes") }}
-- Each session of an exercise against everything before it. Only sessions that improved something are kept: the last
-- one up to today holds the record. Where nothing came before, anything is an improvement.
{%- set types = ["weight", "e1rm", "reps", "set_volume", "workout_volume"] %}
select
    user_key,
    workout_key,
    started_at,
    weight as weight_kg,
    e1rm as e1rm_kg,
    set_volume as set_volume_kg,
    workout_volume / 100000000 as workout_volume_kg,
    most_reps_weight_kg,
    exercise_key,
    session_number::int as session_number,
    local_date,
    weight_reps,
    e1rm_reps,
    set_volume_reps,
    reps as most_reps
    {%- for type in types %}, improves_{{ type }}{% endfor %},
    session_number > 1 and (improves_weight or improves_e1rm) as is_record_event
    {%- for type in types %}
        ,
        improves_{{ type }}
        and session_number
        = max(session_number) filter (where improves_{{ type }} and is_past) over whole as holds_{{ type }}
    {%- endfor %}
from
    (
        select compared.*, compared.local_date <= people.today_on as is_past
        from
            (
                select
                    *,
                    count(*) over before + 1 as session_number
                    {%- for type in types %}
                        , coalesce({{ type }} > coalesce(max({{ type }}) over before, 0), false) as improves_{{ type }}
                    {%- endfor %}
                from
                    (
                        select
                            sessions.user_key,
                            sessions.workout_key,
                            sessions.started_at,
                            case when not exercises.is_assisted then sessions.top_weight_kg end as weight,
                            case when not exercises.is_assisted then sessions.e1rm_kg end as e1rm,
                            case when not exercises.is_assisted then sessions.set_volume_kg end as set_volume,
                            case
                                when not exercises.is_assisted and sessions.volume_e8 > 0 then sessions.volume_e8
                            end as workout_volume,
                            sessions.most_reps_weight_kg,
                            sessions.exercise_key,
                            sessions.local_date,
                            sessions.top_weight_reps as weight_reps,
                            sessions.e1rm_reps,
                            sessions.set_volume_reps,
                            sessions.most_reps as reps
                        from {{ ref("exercise_sessions") }} as sessions
                        join
                            (
                                select exercise_key, load_type = 'assisted' as is_assisted
                                from {{ ref("stg_exercises") }}
                            ) as exercises
                            on exercises.exercise_key = sessions.exercise_key
                        where
                            sessions.sets > 0
                            {%- if is_partial() %}
                                and sessions.user_key in {{ changed_keys(["user_key"]) }}
                            {%- endif %}
                    ) as sessions
                window
                    before as (
                        partition by user_key, exercise_key
                        order by started_at, workout_key
                        rows between unbounded preceding and 1 preceding
                    )
            ) as compared
        join
            (
                select user_key, ({{ as_of() }} at time zone time_zone)::date as today_on from {{ ref("user_zones") }}
            ) as people
            on people.user_key = compared.user_key
        where {% for type in types %} improves_{{ type }} {%- if not loop.last %} or {% endif %} {% endfor %}
        -- Nothing is left to sort; it makes Postgres compute is_past once per row, not once per record type.
        order by user_key, exercise_key
    ) as improved
window whole as (partition by user_key, exercise_key)
