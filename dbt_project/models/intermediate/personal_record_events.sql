{{
    config(
        materialized="maintained_table",
        primary_key=["user_key", "exercise_key", "workout_key"],
        replaces=["user_key"],
        change_kinds=["workout", "exercise", "user", "arrival"],
        emits=["user_key", "local_date"],
    )
}}
-- depends_on: {{ ref("changes") }}
-- Each session of an exercise against everything before it. Only the first and those that improved something are kept:
-- the last one up to today holds the record. So the rows from before the first change stand for all that came before
-- it, and what a build reads doesn't grow with history. What is asked of each row comes first in it, because Postgres
-- reads a row from its begin.
{%- set loaded = ["weight", "e1rm", "set_volume", "workout_volume"] %}
{%- set types = loaded + ["reps"] %}
{% if is_partial() %} with changed as materialized {{ changed_since() }} {%- endif %}

select
    user_key,
    exercise_key,
    local_date
    {%- for type in types %}
        ,
        improves_{{ type }}
        and session_number
        = max(session_number) filter (where improves_{{ type }} and is_past) over whole as holds_{{ type }}
    {%- endfor %},
    session_number > 1 and (improves_weight or improves_e1rm) as is_record_event
    {%- for type in types %}, improves_{{ type }}{% endfor %},
    workout_key,
    started_at,
    weight_kg,
    weight_reps,
    e1rm_reps,
    e1rm_kg,
    most_reps,
    set_volume_reps,
    most_reps_weight_kg,
    set_volume_kg,
    workout_volume_kg
from
    (
        -- Of an assisted exercise, where less load is more, only repetitions count: those with the least help.
        select
            compared.user_key,
            compared.exercise_key,
            compared.session_number,
            compared.local_date,
            compared.local_date <= people.today_on as is_past,
            compared.improves_reps
            {%- for type in loaded %}
                , compared.improves_{{ type }} and not exercises.is_assisted as improves_{{ type }}
            {%- endfor %},
            compared.workout_key,
            compared.started_at,
            case when not exercises.is_assisted then compared.weight end as weight_kg,
            compared.weight_reps,
            compared.e1rm_reps,
            case when not exercises.is_assisted then compared.e1rm end as e1rm_kg,
            compared.reps as most_reps,
            compared.set_volume_reps,
            case
                when exercises.is_assisted and compared.improves_reps
                then
                    (
                        select min(unpacked.weight_kg)
                        from {{ ref("exercise_sessions") }} as packed
                        cross join lateral {{ unpacked_sets("packed.packed_sets") }} as unpacked
                        where
                            packed.workout_key = compared.workout_key
                            and packed.exercise_key = compared.exercise_key
                            and unpacked.reps = compared.reps
                    )
                else compared.most_reps_weight_kg
            end as most_reps_weight_kg,
            case when not exercises.is_assisted then compared.set_volume end as set_volume_kg,
            case
                when not exercises.is_assisted and compared.workout_volume > 0 then compared.workout_volume / 100000000
            end as workout_volume_kg
        from
            (
                select
                    *,
                    row_number() over before as session_number
                    {%- for type in types %}
                        , coalesce({{ type }} > coalesce(max({{ type }}) over before, 0), false) as improves_{{ type }}
                    {%- endfor %}
                from
                    (
                        select
                            user_key,
                            workout_key,
                            started_at,
                            top_weight_kg as weight,
                            e1rm_kg as e1rm,
                            set_volume_kg as set_volume,
                            volume_e8 as workout_volume,
                            most_reps_weight_kg,
                            exercise_key,
                            local_date,
                            top_weight_reps as weight_reps,
                            e1rm_reps,
                            set_volume_reps,
                            most_reps as reps
                        from {{ ref("exercise_sessions") }}
                        {%- if is_partial() %} join changed using (user_key) {%- endif %}
                        where sets > 0 {%- if is_partial() %} and started_at >= changed.since {%- endif %}
                        {%- if is_partial() %}
                            union all
                            select
                                user_key,
                                workout_key,
                                started_at,
                                weight_kg,
                                e1rm_kg,
                                set_volume_kg,
                                round(workout_volume_kg * 100000000),
                                most_reps_weight_kg,
                                exercise_key,
                                local_date,
                                weight_reps,
                                e1rm_reps,
                                set_volume_reps,
                                most_reps
                            from {{ this }}
                            join changed using (user_key)
                            where started_at < changed.since
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
        join
            (select exercise_key, load_type = 'assisted' as is_assisted from {{ ref("stg_exercises") }}) as exercises
            on exercises.exercise_key = compared.exercise_key
        where
            compared.session_number = 1
            or compared.improves_reps
            or (
                not exercises.is_assisted
                and (
                    {%- for type in loaded %}
                        compared.improves_{{ type }} {%- if not loop.last %} or {% endif %}
                    {%- endfor %}
                )
            )
        -- Nothing is left to sort; it makes Postgres compute is_past once per row, not once per record type.
        order by user_key, exercise_key
    ) as improved
window whole as (partition by user_key, exercise_key)
