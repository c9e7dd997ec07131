{{ config(materialized="view") }}
{%- for record_type, value, weight, reps in [
    ("weight", "weight_kg", "weight_kg", "weight_reps"),
    (
        "e1rm",
        "e1rm_kg",
        exact_weight(
            "e1rm_kg * case when e1rm_reps = 1 then 1 else 30 / (30::double precision + e1rm_reps) end"
        ),
        "e1rm_reps",
    ),
    ("reps", "most_reps", "nullif(most_reps_weight_kg, 0)", "most_reps"),
    (
        "set_volume",
        "set_volume_kg",
        exact_weight("set_volume_kg / nullif(set_volume_reps, 0)"),
        "set_volume_reps",
    ),
    ("workout_volume", "workout_volume_kg", "null::double precision", "null::int"),
] %}
    {%- if not loop.first %}
        union all
    {%- endif %}
    select
        user_key,
        workout_key,
        started_at as achieved_at,
        {{ value }}::double precision as value,
        {{ weight }} as weight_kg,
        exercise_key,
        local_date as achieved_on,
        {{ reps }} as reps,
        '{{ record_type }}' as record_type
    from {{ ref("personal_record_events") }}
    where holds_{{ record_type }}
{%- endfor %}
