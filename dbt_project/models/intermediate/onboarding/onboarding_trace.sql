{{
    config(
        materialized="table",
        unlogged=true,
        indexes=[{"columns": ["person_key", "flow_key", "position"]}],
        pre_hook="{{ onboarding_plan_for_all(onboarding_trace_is_all()) }}",
        post_hook="{{ remember_onboarding_trace() }}",
    )
}}
-- depends_on: {{ ref("changes") }}
-- depends_on: {{ ref("stg_onboarding_events") }}
-- depends_on: {{ ref("onboarding_flow_steps") }}
-- Sorted and looked up once for the models that follow journeys: along this index they group and number events without
-- sorting again. Where nothing is built in full, only the events of people who changed. Unlogged, because every build
-- makes it anew.
with
    {%- if onboarding_trace_is_all() %} events as (select * from {{ ref("stg_onboarding_events") }})
    {%- else %}
        people as materialized(
            select distinct person_key
            from {{ change_queue() }}
            where
                kind = 'person'
                and batch > (
                    select min(consumed_batch)
                    from {{ model_state() }}
                    where model in ('{{ onboarding_readers() | join("', '") }}')
                )
        ),

        events as ({{ onboarding_events("people") }})
    {%- endif %}

    {{ onboarding_trace_of("events") }}
order by person_key, flow_key, position, occurred_at, event_id
