{#-
  Bounds for the starts of workouts of a local date, wherever on earth: days begin up to 16 hours before and after they do in UTC. They
  are for indexes on starts, beside a condition on the local date itself.
-#}
{% macro earliest_start(local_date) -%} (({{ local_date }})::timestamp at time zone 'UTC' - interval '1 day') {%- endmacro %}
{% macro latest_start(local_date) -%} (({{ local_date }})::timestamp at time zone 'UTC' + interval '2 days') {%- endmacro %}


{#-
  For a model's SQL: changed users, and a start before which none of their workouts changed. With an exercise that is another one now,
  everything changed; where only the clock moved on, no workout did.
-#}
{% macro changed_since() %}
    (select user_key,
        coalesce(min(case kind
            when 'workout' then {{ earliest_start("local_date") }}
            when 'exercise' then '-infinity' end), 'infinity') as since
     from {{ changes_to_compute() }} as changed
     where user_key is not null
     group by user_key)
{%- endmacro %}
