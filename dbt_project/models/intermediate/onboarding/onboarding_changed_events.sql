{{ config(materialized="table", post_hook="analyze {{ this }}") }}
-- depends_on: {{ ref("changes") }}
-- Looked up once for the three models that read events, and analysed: from a subquery the planner would expect a
-- handful of rows and
-- compare every event with every journey. Empty where those models are built in full.
with
    people as materialized(
        select distinct person_key
        from {{ change_queue() }}
        where
            kind = 'person'
            and batch > (
                select case when count(*) = 3 then min(consumed_batch) else 9223372036854775807 end
                from {{ model_state() }}
                where model in ('onboarding_steps', 'onboarding_journeys', 'onboarding_step_errors')
            )
    )

    {{ onboarding_events("people") }}
