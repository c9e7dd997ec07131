{#- What of an exercise changes the marts. -#}
{% macro exercise_fingerprint(alias) -%}
    md5(concat_ws('|', {{ alias }}.exercise_id, {{ alias }}.name, {{ alias }}.load_type,
        array_to_string({{ alias }}.primary_muscles, ','), array_to_string({{ alias }}.secondary_muscles, ',')))
{%- endmacro %}


{#- In the capture's transaction: exercises as this capture's snapshot saw them, so that the next one knows what changed. -#}
{% macro remember_exercises() -%}
insert into staging.known_exercises as known (exercise_key, fingerprint)
select exercises.exercise_key, {{ exercise_fingerprint("exercises") }}
from app.exercises as exercises
cross join {{ change_cursor() }} as clock
where (clock.snapshot is null or exercises.xid >= pg_snapshot_xmin(clock.snapshot))
  and pg_visible_in_snapshot(exercises.xid, clock.next_snapshot)
on conflict (exercise_key) do update set fingerprint = excluded.fingerprint where known.fingerprint <> excluded.fingerprint
{%- endmacro %}


{% macro prepare_known_exercises() %}
    {%- if execute and flags.WHICH in ('run', 'build', 'test', 'seed', 'snapshot') -%}
create table if not exists staging.known_exercises (exercise_key integer primary key, fingerprint text not null);
comment on table staging.known_exercises is 'Exercises as the last capture of changes saw them. One row per exercise.'
    {%- endif -%}
{% endmacro %}
