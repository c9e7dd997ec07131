{{
    config(
        materialized="maintained_table",
        primary_key=["user_key"],
        replaces=["user_key"],
        rebuild_share=0.5,
        change_kinds=["workout", "user", "exercise", "day", "arrival"],
    )
}}
-- depends_on: {{ ref("changes") }}
{%- set ranges = {"7d": 7, "30d": 30, "90d": 90, "365d": 365, "all": none} %}
with
    -- A set counts whole for primary muscles and half for the others: in half sets these are whole numbers. The row
    -- without a muscle counts exercises. Muscles are numbered, because numbers are compared faster than names.
    exercise_muscles as materialized(
        select pairs.*, dense_rank() over (order by muscle)::smallint as muscle_number
        from
            (
                select exercise_key, unnest(primary_muscles) as muscle, 2 as half_sets
                from {{ ref("stg_exercises") }}
                union all
                select exercises.exercise_key, secondary.muscle, 1
                from {{ ref("stg_exercises") }} as exercises
                cross join unnest(exercises.secondary_muscles) as secondary(muscle)
                where secondary.muscle <> all(exercises.primary_muscles)
                union all
                select exercise_key, null, null
                from {{ ref("stg_exercises") }}
            ) as pairs
    ),
    muscle_names as materialized(
        select array_agg(muscle order by muscle_number) as names
        from (select distinct muscle_number, muscle from exercise_muscles) as muscles
    ),

    counted as (
        select
            user_key
            {%- for range in ranges %}
                , coalesce(max(exercises_{{ range }}) filter (where muscle is null), 0)::int as exercises_{{ range }}
            {%- endfor %}
            {%- for range in ranges %}
                ,
                json_object_agg(muscle, half_sets_{{ range }} / 2.0::double precision) filter (
                    where muscle is not null and half_sets_{{ range }} > 0
                )::text as json_{{ range }}
            {%- endfor %}
        from
            (
                select
                    user_key,
                    muscle_number,
                    (select names from muscle_names)[muscle_number] as muscle
                    {%- for range in ranges %}
                        ,
                        count(sets_{{ range }}) as exercises_{{ range }},
                        sum(sets_{{ range }} * half_sets) as half_sets_{{ range }}
                    {%- endfor %}
                from
                    (
                        select
                            exercises.user_key,
                            exercise_muscles.muscle_number,
                            exercise_muscles.half_sets
                            {%- for range in ranges %}, exercises.sets_{{ range }} {% endfor %}
                        from
                            (
                                select
                                    sessions.user_key,
                                    sessions.exercise_key
                                    {%- for range, days in ranges.items() %}
                                        ,
                                        sum(sessions.sets)
                                        {%- if days %}
                                            filter (where people.today_on - sessions.local_date < {{ days }})
                                        {%- endif %}::int as sets_{{ range }}
                                    {%- endfor %}
                                from {{ ref("exercise_sessions") }} as sessions
                                join
                                    (
                                        select user_key, ({{ as_of() }} at time zone time_zone)::date as today_on
                                        from {{ ref("user_zones") }}
                                        {%- if is_partial() %}
                                            where user_key in {{ changed_keys(["user_key"]) }}
                                        {%- endif %}
                                        offset 0
                                    ) as people
                                    on people.user_key = sessions.user_key
                                where sessions.sets > 0 and sessions.local_date <= people.today_on
                                group by sessions.user_key, sessions.exercise_key
                            ) as exercises
                        join exercise_muscles on exercise_muscles.exercise_key = exercises.exercise_key
                        order by user_key, muscle_number
                    ) as exercises
                group by user_key, muscle_number
            ) as muscles
        group by user_key
    )

-- Parsing takes longest. A range that holds all that a user ever did has the same document, which is parsed once.
select
    user_key
    {%- for range in ranges %}, exercises_{{ range }}{% endfor %}
    {%- for range in ranges %}
        {%- if not loop.last %}
            ,
            case
                when json_{{ range }} = json_all then sets_by_muscle_all else json_{{ range }}::jsonb
            end as sets_by_muscle_{{ range }}
        {%- endif %}
    {%- endfor %},
    sets_by_muscle_all
from (select *, json_all::jsonb as sets_by_muscle_all from counted offset 0) as counted
