{{
    config(
        materialized="maintained_table",
        primary_key=["user_key", "resource"],
        replaces=["user_key"],
        rebuild_share=0.5,
        change_kinds=["workout", "user", "exercise", "plan", "profile", "day", "arrival", "personal_record_events"],
        pre_hook="set local min_parallel_table_scan_size = '1TB'; set local min_parallel_index_scan_size = '1TB'; set local parallel_setup_cost = 100000",
        post_hook="{{ keep_from_analysts() }}",
    )
}}
-- depends_on: {{ ref("changes") }}
-- Writing JSON is most of the work, so everybody's is written on all cores: ranges of users side by side, each of which
-- one process scans alone (else the planner splits single scans, and what is written stays in one process).
{%- for slice in slices(ref("user_zones"), "user_key") %}
    {%- set wanted = "user_key in " ~ changed_keys(["user_key"]) if is_partial() else slice %}
    select user_key, resource, payload
    from
        (
            with
                people as {{ "materialized" if is_partial() else "not materialized" }} (
                    select user_key, {{ week_of("(" ~ as_of() ~ " at time zone time_zone)::date") }} as monday_on
                    from {{ ref("user_zones") }}
                    where {{ wanted }}
                ),

                summaries as (
                    select
                        user_key,
                        range,
                        workouts,
                        active_days as "activeDays",
                        training_minutes as "trainingMinutes",
                        sets,
                        reps,
                        volume_kg as "volumeKg",
                        avg_rpe as "avgRpe",
                        exercises,
                        record_events as "recordEvents",
                        current_streak_weeks as "currentStreakWeeks",
                        longest_streak_weeks as "longestStreakWeeks",
                        {{ json_instant("first_workout_at") }} as "firstWorkoutAt",
                        {{ json_instant("last_workout_at") }} as "lastWorkoutAt",
                        previous_workouts as "previousWorkouts",
                        previous_volume_kg as "previousVolumeKg",
                        volume_change_pct as "volumeChangePct",
                        planned_sessions as "plannedSessions",
                        completed_sessions as "completedSessions",
                        adherence,
                        sets_by_muscle as "setsByMuscle"
                    from {{ ref("user_summary_rows") }}
                    where {{ wanted }}
                ),
                summary_payloads as (
                    select
                        user_key,
                        'summary/' || range as resource,
                        {{ json_object_without("summaries", "user_key") }} as payload
                    from summaries
                ),

                records as (
                    select
                        records.user_key,
                        exercises.exercise_id as "exerciseId",
                        exercises.exercise_name as "exerciseName",
                        records.record_type as "recordType",
                        records.value,
                        case records.record_type when 'reps' then 'reps' else 'kg' end as unit,
                        records.weight_kg as "weightKg",
                        records.reps,
                        {{ json_instant("records.achieved_at") }} as "achievedAt",
                        records.workout_key as "workoutKey"
                    from
                        (
                            -- An array, because a join would first look for everybody's records.
                            select *
                            from {{ ref("personal_record_rows") }}
                            where
                                {% if is_partial() %} user_key = any(array{{ changed_keys(["user_key"]) }})
                                {%- else %} {{ slice }}
                                {%- endif %}
                        ) as records
                    join {{ ref("stg_exercises") }} as exercises on exercises.exercise_key = records.exercise_key
                ),
                record_lists as (
                    select
                        user_key,
                        string_agg(
                            {{ json_object_without("records", "user_key") }},
                            ','
                            order by "achievedAt" desc, "exerciseName", "exerciseId", "recordType"
                        ) as list
                    from records
                    group by user_key
                ),
                record_payloads as (
                    select
                        people.user_key,
                        'records' as resource,
                        '{"records":[' || coalesce(record_lists.list, '') || ']}' as payload
                    from people
                    left join record_lists on record_lists.user_key = people.user_key
                ),

                weeks as (
                    select
                        weeks.user_key,
                        weeks.week_on as "weekOn",
                        weeks.workouts,
                        weeks.active_days as "activeDays",
                        weeks.training_minutes as "trainingMinutes",
                        weeks.sets,
                        weeks.reps,
                        weeks.volume_kg as "volumeKg",
                        weeks.record_events as "recordEvents"
                    from people
                    join
                        (select * from {{ ref("user_weeks") }} where {{ slice }}) as weeks
                        on weeks.user_key = people.user_key
                    where weeks.week_on >= people.monday_on - 7 * 51
                ),
                week_lists as (
                    select
                        user_key,
                        string_agg({{ json_object_without("weeks", "user_key") }}, ',' order by "weekOn") as list
                    from weeks
                    group by user_key
                ),

                lifts as (
                    select
                        lifts.user_key,
                        lifts.rank,
                        exercises.exercise_id as "exerciseId",
                        exercises.exercise_name as "exerciseName",
                        lifts.sessions_12w as "sessions12w",
                        lifts.sessions_52w as "sessions52w",
                        lifts.e1rm_kg as "e1rmKg",
                        lifts.latest_e1rm_kg as "latestE1rmKg",
                        lifts.latest_week_on as "latestWeekOn",
                        lifts.slope_12w_kg_per_week as "slope12wKgPerWeek",
                        lifts.trend_12w_pct as "trend12wPct",
                        lifts.slope_52w_kg_per_week as "slope52wKgPerWeek",
                        lifts.trend_52w_pct as "trend52wPct",
                        lifts.weeks_on as "weeksOn",
                        lifts.weekly_e1rm_kg as "weeklyE1rmKg"
                    from people
                    join
                        (select * from {{ ref("top_lifts") }} where {{ slice }}) as lifts
                        on lifts.user_key = people.user_key
                    join {{ ref("stg_exercises") }} as exercises on exercises.exercise_key = lifts.exercise_key
                ),
                lift_lists as (
                    select
                        user_key, string_agg({{ json_object_without("lifts", "user_key") }}, ',' order by rank) as list
                    from lifts
                    group by user_key
                ),

                muscles as (
                    select
                        sets.user_key,
                        sets.muscle,
                        sets.planned_sets_week as "plannedSetsWeek",
                        sets.done_sets_week as "doneSetsWeek",
                        sets.planned_sets_28d as "plannedSets28d",
                        sets.done_sets_28d as "doneSets28d"
                    from people
                    join
                        (select * from {{ ref("muscle_sets") }} where {{ slice }}) as sets
                        on sets.user_key = people.user_key
                ),
                muscle_lists as (
                    select
                        user_key,
                        string_agg({{ json_object_without("muscles", "user_key") }}, ',' order by muscle) as list
                    from muscles
                    group by user_key
                ),

                -- Numbered by arrays: Postgres runs no window function beside another process.
                newest_records as (
                    select newest.*
                    from
                        (
                            select
                                user_key,
                                (array_agg(feed order by achieved_at desc, workout_key desc, exercise_key))[
                                    :50
                                ] as events
                            from {{ ref("record_feed") }} as feed
                            where {{ wanted }}
                            group by user_key
                        ) as feeds
                    cross join lateral unnest(feeds.events)
                    with ordinality as newest
                ),
                feed as (
                    select
                        newest.user_key,
                        exercises.exercise_id as "exerciseId",
                        exercises.exercise_name as "exerciseName",
                        newest.workout_key as "workoutKey",
                        {{ json_instant("newest.achieved_at") }} as "achievedAt",
                        newest.achieved_on as "achievedOn",
                        newest.is_weight_record as "isWeightRecord",
                        newest.weight_kg as "weightKg",
                        newest.weight_reps as "weightReps",
                        newest.previous_weight_kg as "previousWeightKg",
                        newest.is_e1rm_record as "isE1rmRecord",
                        newest.e1rm_kg as "e1rmKg",
                        newest.previous_e1rm_kg as "previousE1rmKg",
                        newest.ordinality as place
                    from newest_records as newest
                    join {{ ref("stg_exercises") }} as exercises on exercises.exercise_key = newest.exercise_key
                ),
                feed_lists as (
                    select
                        user_key, string_agg({{ json_object_without("feed", "user_key") }}, ',' order by place) as list
                    from feed
                    group by user_key
                ),

                comparisons as (
                    select
                        percentiles.user_key,
                        percentiles.measure,
                        percentiles.value,
                        percentiles.percentile,
                        percentiles.peers,
                        percentiles.peer_median as "peerMedian",
                        percentiles.reason
                    from people
                    join
                        (select * from {{ ref("peer_percentiles") }} where {{ slice }}) as percentiles
                        on percentiles.user_key = people.user_key
                ),
                peer_lists as (
                    select
                        user_key,
                        string_agg({{ json_object_without("comparisons", "user_key") }}, ',' order by measure) as list
                    from comparisons
                    group by user_key
                ),

                dashboard_payloads as (
                    select people.user_key, lists.resource, lists.payload
                    from people
                    left join week_lists on week_lists.user_key = people.user_key
                    left join lift_lists on lift_lists.user_key = people.user_key
                    left join muscle_lists on muscle_lists.user_key = people.user_key
                    left join feed_lists on feed_lists.user_key = people.user_key
                    left join peer_lists on peer_lists.user_key = people.user_key
                    cross join
                        lateral(
                            values
                                ('timeline', '{"weeks":[' || coalesce(week_lists.list, '') || ']}'),
                                ('top-lifts', '{"lifts":[' || coalesce(lift_lists.list, '') || ']}'),
                                ('muscles', '{"muscles":[' || coalesce(muscle_lists.list, '') || ']}'),
                                ('record-feed', '{"events":[' || coalesce(feed_lists.list, '') || ']}'),
                                ('peers', '{"measures":[' || coalesce(peer_lists.list, '') || ']}')
                        ) as lists(resource, payload)
                )

            select user_key, resource, payload
            from summary_payloads
            union all
            select user_key, resource, payload
            from record_payloads
            union all
            select user_key, resource, payload
            from dashboard_payloads
        ) as payloads
    {%- if not loop.last %}
        union all
    {%- endif %}
{%- endfor %}
