{{
    config(
        materialized="maintained_table",
        primary_key=["user_key", "exercise_key"],
        replaces=["user_key"],
        change_kinds=["workout", "user"],
    )
}}
-- depends_on: {{ ref("changes") }}
-- What the planning engine reads, packed so that a user costs a copy of bytes: an array would be written and read
-- element by element. Which sessions count at an instant (deloads, the future) is for the reader to say, so nothing
-- here slides with the clock; two sessions more than the engine looks at are there for that.
with
    numbered as (
        select
            *,
            row_number() over (
                partition by user_key, exercise_key order by started_at desc, workout_key desc
            ) as recency
        from {{ ref("exercise_sessions") }}
        where sets > 0 {%- if is_partial() %} and user_key in {{ changed_keys(["user_key"]) }} {%- endif %}
    )

select
    user_key,
    exercise_key,
    string_agg(
        timestamptz_send(started_at) || date_send(local_date) || int2send(sets::smallint),
        ''::bytea
        order by started_at desc, workout_key desc
    ) as sessions,
    string_agg(packed_sets, ''::bytea order by started_at desc, workout_key desc) as packed_sets
from numbered
where recency <= 8
group by user_key, exercise_key
