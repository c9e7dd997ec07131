{{ config(materialized="view") }}
{%- set ranges = ["7d", "30d", "90d", "365d", "all"] %}
select
    totals.user_key,
    totals.range,
    totals.today_on,
    totals.workouts,
    totals.active_days,
    totals.training_minutes,
    totals.sets,
    totals.reps,
    totals.volume_kg,
    totals.avg_rpe,
    case
        totals.range
        {%- for range in ranges %} when '{{ range }}' then coalesce(done.exercises_{{ range }}, 0) {%- endfor %}
    end as exercises,
    totals.record_events,
    totals.current_streak_weeks,
    totals.longest_streak_weeks,
    totals.first_workout_at,
    totals.last_workout_at,
    totals.previous_workouts,
    totals.previous_volume_kg,
    totals.volume_change_pct,
    totals.planned_sessions,
    totals.completed_sessions,
    totals.adherence,
    case
        totals.range
        {%- for range in ranges %} when '{{ range }}' then coalesce(done.sets_by_muscle_{{ range }}, '{}') {%- endfor %}
    end as sets_by_muscle,
    totals.as_of
from {{ ref("user_range_totals") }} as totals
left join {{ ref("user_range_exercises") }} as done on done.user_key = totals.user_key
