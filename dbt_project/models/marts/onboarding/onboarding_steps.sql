{{
    config(
        materialized="maintained_table",
        primary_key=["person_key", "flow", "flow_version", "position"],
        replaces=["person_key"],
        change_kinds=["person"],
        emits=["cohort_on", "cohort_week_on"],
        pre_hook="{{ onboarding_plan_for_all(groups='sorted') }}",
    )
}}
-- depends_on: {{ ref("changes") }}
-- depends_on: {{ ref("stg_onboarding_events") }}
-- depends_on: {{ ref("onboarding_trace") }}
-- Who took all steps in order, which is nearly everybody, has each step's first events as they are: `checked` proves
-- it for each journey. The others' chains are followed event by event: `chain`.
with recursive
    {{ onboarding_opening(is_partial(), trace_is_enough()) }},
    flow_steps as not materialized(select * from {{ ref("onboarding_flow_steps") }}),

    measured as (
        select
            events.person_key,
            events.flow_key,
            events.position,
            bool_and(events.is_required) as is_required,
            max(events.required_before) as required_before,
            max(events.window_seconds) as window_seconds,
            {{ onboarding_step_measures("events") }}
        from events
        group by events.person_key, events.flow_key, events.position
    ),

    -- Joins would lose the order that the trace's index gives, and each further window costs a pass over everybody.
    checked as (
        select
            *,
            coalesce(first_value(reached_at) over before, reached_at) as entered_at,
            coalesce(first_value(position) over before, position) as first_position,
            max(done_at) filter (where is_required) over before as done_before_at,
            count(done_at) filter (where is_required) over before as done_before,
            max(last_event_at) filter (where not is_required) over before as optional_before_at
        from measured
        window
            before as (
                partition by person_key, flow_key order by position rows between unbounded preceding and 1 preceding
            )
    ),

    -- An optional step's events must end before the next required step is done; in order, that is before all later
    -- ones are.
    judged as (
        select
            *,
            entered_at + make_interval(secs => window_seconds) as matured_at,
            coalesce(done_before_at, entered_at) as ready_at,
            count(done_at) filter (where is_required) over journey > done_before as is_passed,
            bool_and(
                {% if var("follow_every_chain", false) %}false and {% endif %}
                done_before = required_before
                and reached_at >= coalesce(done_before_at, entered_at)
                and last_event_at <= entered_at + make_interval(secs => window_seconds)
                and (not is_required or done_at is null or optional_before_at is null or optional_before_at <= done_at)
            ) over journey as is_in_order
        from checked
        where first_position = 1
        window journey as (partition by person_key, flow_key)
    ),

    tangled_journeys as materialized(
        select distinct person_key, flow_key, entered_at, matured_at from judged where not is_in_order
    ),

    -- No joins from here on but with the few rows of flow_steps: how many journeys are tangled is unknown to the
    -- planner, and what it takes for one row it joins by nested loops. What belongs to a journey is gathered by
    -- windows instead.
    tangled_events as materialized(
        select *
        from
            (
                select
                    marked.*,
                    min(marked.journey_entered_at) over journey as entered_at,
                    min(marked.journey_matured_at) over journey as matured_at
                from
                    (
                        select
                            person_key,
                            flow_key,
                            position,
                            is_required,
                            is_done,
                            event_type,
                            occurred_at,
                            error_code,
                            trace_id,
                            null::timestamptz as journey_entered_at,
                            null::timestamptz as journey_matured_at
                        from events
                        -- `is true` keeps it a hashed subquery: as a join it would be planned for one journey.
                        where (person_key in (select person_key from tangled_journeys)) is true
                        union all
                        select person_key, flow_key, null, null, null, null, null, null, null, entered_at, matured_at
                        from tangled_journeys
                    ) as marked
                window journey as (partition by marked.person_key, marked.flow_key)
            ) as framed
        where occurred_at between entered_at and matured_at
    ),

    -- One row per required step that became possible: the first completion that doesn't lie before the last step's.
    chain(person_key, flow_key, position, done_at, positions, completions) as (
        select
            person_key,
            flow_key,
            0::smallint,
            min(entered_at),
            array_agg(position) filter (where is_required and event_type = 'completed'),
            array_agg(occurred_at) filter (where is_required and event_type = 'completed')
        from tangled_events
        group by person_key, flow_key
        union all
        select
            chain.person_key,
            chain.flow_key,
            flow_steps.position,
            (
                select min(completion.occurred_at)
                from unnest(chain.positions, chain.completions) as completion(position, occurred_at)
                where completion.position = flow_steps.position and completion.occurred_at >= chain.done_at
            ),
            chain.positions,
            chain.completions
        from chain
        join
            flow_steps
            on flow_steps.flow_key = chain.flow_key
            and flow_steps.previous_required_position = chain.position
            and flow_steps.is_required
        where chain.done_at is not null
    ),

    linked as (
        select
            entries.*,
            array_agg(entries.link_position) filter (where entries.link_position is not null) over journey
            as link_positions,
            array_agg(entries.link_done_at) filter (where entries.link_position is not null) over journey
            as link_instants
        from
            (
                select
                    person_key,
                    flow_key,
                    position,
                    is_required,
                    is_done,
                    event_type,
                    occurred_at,
                    error_code,
                    trace_id,
                    entered_at,
                    matured_at,
                    null::smallint as link_position,
                    null::timestamptz as link_done_at
                from tangled_events
                union all
                select person_key, flow_key, null, null, null, null, null, null, null, null, null, position, done_at
                from chain
                where done_at is not null
            ) as entries
        window journey as (partition by entries.person_key, entries.flow_key)
    ),

    bounded as (
        select
            linked.*,
            link_instants[array_position(link_positions, flow_steps.previous_required_position)] as ready_at,
            link_instants[array_position(link_positions, flow_steps.next_required_position)] as next_done_at
        from linked
        join flow_steps on flow_steps.flow_key = linked.flow_key and flow_steps.position = linked.position
    ),

    untangled as (
        select
            bounded.person_key,
            bounded.flow_key,
            bounded.position,
            {{ onboarding_step_measures("bounded") }},
            min(bounded.entered_at) as entered_at,
            min(bounded.matured_at) as matured_at,
            min(bounded.ready_at) as ready_at,
            bool_or(bounded.next_done_at is not null) as is_passed
        from bounded
        where
            bounded.occurred_at >= bounded.ready_at
            and (bounded.is_required or bounded.next_done_at is null or bounded.occurred_at <= bounded.next_done_at)
        group by bounded.person_key, bounded.flow_key, bounded.position
    ),

    {%- set columns %}
            person_key, flow_key, position, entered_at, matured_at, ready_at, is_passed, reached_at, last_event_at, started_at,
            completed_at, skipped_at, done_at, starts, skips, errors, first_error, last_error, last_trace
    {%- endset %}
    steps as (
        select {{ columns }}
        from judged
        where is_in_order
        union all
        select {{ columns }}
        from untangled
    ),

    as_of as materialized(select {{ as_of() }} as as_of)

select
    steps.person_key,
    flow_steps.flow,
    flow_steps.flow_version,
    steps.position,
    flow_steps.step,
    flow_steps.is_required,
    (steps.entered_at at time zone 'UTC')::date as cohort_on,
    date_trunc('week', steps.entered_at at time zone 'UTC')::date as cohort_week_on,
    steps.entered_at,
    steps.reached_at,
    steps.started_at,
    steps.completed_at,
    steps.skipped_at,
    steps.done_at,
    steps.last_event_at,
    case
        when steps.done_at = steps.completed_at
        then 'completed'
        when steps.done_at is not null
        then 'skipped'
        when as_of.as_of <= steps.matured_at and (flow_steps.is_required or not steps.is_passed)
        then 'in_progress'
        when steps.errors > 0
        then 'blocked'
        else 'abandoned'
    end as outcome,
    steps.starts,
    steps.skips,
    steps.errors,
    {{ onboarding_stamped_text("steps.first_error") }} as first_error_code,
    {{ onboarding_stamped_at("steps.first_error") }} as first_error_at,
    {{ onboarding_stamped_text("steps.last_error") }} as last_error_code,
    {{ onboarding_stamped_at("steps.last_error") }} as last_error_at,
    coalesce(steps.done_at >= {{ onboarding_stamped_at("steps.first_error") }}, false) as is_recovered,
    extract(epoch from steps.done_at - steps.reached_at)::double precision as seconds_in_step,
    extract(epoch from steps.done_at - steps.ready_at)::double precision as seconds_from_previous,
    extract(epoch from steps.done_at - steps.entered_at)::double precision as seconds_from_entry,
    {{ onboarding_stamped_text("steps.last_trace") }} as trace_id,
    {{ onboarding_stamped_at("steps.last_trace") }} as traced_at
from steps
join flow_steps on flow_steps.flow_key = steps.flow_key and flow_steps.position = steps.position
cross join as_of
