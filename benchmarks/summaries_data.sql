-- Histories of %(users)s users with %(sets_per_user)s sets each: workouts of 4 exercises × 5 sets, three a week until 2024-04-30.
insert into app.exercises (exercise_key, exercise_id, name, movement_pattern, load_type, primary_muscles, secondary_muscles)
select n, 'exercise_' || n, 'Exercise ' || n, 'squat', case when n %% 20 = 0 then 'assisted' when n %% 9 = 0 then 'bodyweight' else 'external' end,
    array[(array['chest','lats','quads','hamstrings','glutes','side_delts','biceps','triceps','upper_back','calves'])[1 + n %% 10]],
    array[(array['front_delts','biceps','glutes','lower_back','abs','traps','forearms','triceps'])[1 + n %% 8],
          (array['abs','rear_delts','adductors','obliques'])[1 + n %% 4]]
from generate_series(1, 60) n on conflict do nothing;
insert into app.users (user_id, time_zone)
select 'user-' || n, (array['UTC','Europe/Berlin','America/New_York','Asia/Tokyo','Australia/Sydney'])[1 + n %% 5] from generate_series(1, %(users)s) n;
insert into app.workouts (user_key, started_at, duration_seconds, source)
select user_key, timestamptz '2024-04-30 06:00:00+00' - make_interval(days => (w * 7 / 3)::int, hours => (user_key %% 12)::int), 2400 + (user_key * 7 + w * 131) %% 3000, 'simulation'
from generate_series(0, %(sets_per_user)s / 20 - 1) w cross join app.users order by w desc, user_key;
insert into app.workout_sets (workout_key, position, exercise_key, weight_kg, reps, rpe, set_type)
select workout_key, p, 1 + (user_key * 5 + (workout_key %% 2) * 4 + p / 5) %% 60,
    20 + 2.5 * ((user_key * 3 + p / 5 * 7 + (hashint8(workout_key) & 7) + p %% 5) %% 40),
    3 + (workout_key + p * 3) %% 10, case when p %% 2 = 0 then 6 + (workout_key + p) %% 5 end, case when p %% 5 = 0 then 'warmup' else 'normal' end
from app.workouts cross join generate_series(0, 19) p order by workout_key, p;
