-- fmt: off
{#- Events of onboarding flows as every model takes them, and what is common to its models. -#}

{#-
  Known steps' events up to as_of, each with the person whose it is: the user, else who the anonymous id turned out to be, else the
  anonymous person (a negative key). `people` names a relation of person_key; then only theirs are looked up, by index.
-#}
{% macro onboarding_events(people=none) -%}
    {%- set columns -%}
            events.event_id,
            flow_steps.flow_key,
            flow_steps.position,
            flow_steps.is_required,
            flow_steps.required_before,
            flow_steps.window_seconds,
            events.event_type,
            events.occurred_at,
            events.received_at,
            events.error_code,
            events.platform,
            events.app_version,
            events.acquisition_channel,
            events.traceparent
    {%- endset -%}
    {%- set known_steps -%}
        join {{ ref("onboarding_flow_steps") }} as flow_steps
            on flow_steps.flow = events.flow and flow_steps.flow_version = events.flow_version and flow_steps.step = events.step
    {%- endset -%}
    {%- if people is none -%}
        select
            coalesce(events.user_key, links.user_key, app.anonymous_key(events.anonymous_id)) as person_key,
            {{ columns }}
        from {{ source("app", "onboarding_events") }} as events
        left join {{ source("app", "identity_links") }} as links on links.anonymous_id = events.anonymous_id and events.user_key is null
        {{ known_steps }}
        where events.occurred_at <= {{ as_of() }}
    {%- else -%}
        select people.person_key, {{ columns }}
        from {{ people }} as people
        join {{ source("app", "onboarding_events") }} as events on events.user_key = people.person_key
        {{ known_steps }}
        where people.person_key > 0 and events.occurred_at <= {{ as_of() }}
        union all
        select people.person_key, {{ columns }}
        from {{ people }} as people
        join {{ source("app", "identity_links") }} as links on links.user_key = people.person_key
        join {{ source("app", "onboarding_events") }} as events on events.anonymous_id = links.anonymous_id and events.user_key is null
        {{ known_steps }}
        where people.person_key > 0 and events.occurred_at <= {{ as_of() }}
        union all
        select people.person_key, {{ columns }}
        from {{ people }} as people
        {#- `offset 0` has each person looked up by the index: the planner takes few nobodies for many and would read all of theirs. #}
        cross join lateral (
            select *
            from {{ source("app", "onboarding_events") }} as events
            where app.anonymous_key(events.anonymous_id) = people.person_key and events.user_key is null
            offset 0
        ) as events
        {{ known_steps }}
        where
            people.person_key < 0
            and events.occurred_at <= {{ as_of() }}
            and not exists (select from {{ source("app", "identity_links") }} as links where links.anonymous_id = events.anonymous_id)
    {%- endif %}
{%- endmacro %}


{#-
  The columns of intermediate.onboarding_trace from `onboarding_events()`. Segments only where a journey may be entered: elsewhere they
  would be sorted for nothing.
-#}
{% macro onboarding_trace_of(events) -%}
    select
        person_key,
        flow_key,
        position,
        is_required,
        required_before,
        window_seconds,
        event_type,
        event_type = 'completed' or (event_type = 'skipped' and not is_required) as is_done,
        occurred_at,
        event_id,
        case when position = 1 then nullif(platform, '') end as platform,
        case when position = 1 then nullif(app_version, '') end as app_version,
        case when position = 1 then nullif(acquisition_channel, '') end as acquisition_channel,
        error_code,
        substr(traceparent, 4, 32) as trace_id
    from {{ events }}
{%- endmacro %}


{#- The models that follow journeys event by event: what the trace is made for. -#}
{% macro onboarding_readers() %}{{ return(["onboarding_steps", "onboarding_journeys", "onboarding_step_errors"]) }}{% endmacro %}


{#- Will one of them be built in full? Then the trace holds everybody's events, else those of the people who changed. -#}
{% macro onboarding_trace_is_all() %}
    {%- if not execute or flags.WHICH not in ("run", "build") or should_full_refresh() -%} {{ return(true) }} {%- endif -%}
    {%- set models = maintenance_state().models -%}
    {%- set standing = [] -%}
    {%- for node in graph.nodes.values() if node.name in onboarding_readers() and node.resource_type == "model" and node.name in models -%}
        {%- set fingerprint = local_md5(node.raw_code ~ tojson(node.config.get("indexes", [])) ~ tojson(node.config.get("primary_key", []))) -%}
        {%- set own = models[node.name] -%}
        {%- set steps = models.get("onboarding_steps", own) -%}
        {%- set table = relation_state({"schema": node.schema, "identifier": node.name}, at_start=true) -%}
        {%- if table.exists and own.definition == fingerprint and steps.rebuilt_at <= own.rebuilt_at -%} {%- do standing.append(node.name) -%} {%- endif -%}
    {%- endfor -%}
    {{ return(standing | length < onboarding_readers() | length) }}
{% endmacro %}


{#- The trace's post-hook: whose events it holds. Unlogged like the trace, so that a crash empties both. -#}
{% macro remember_onboarding_trace() -%}
create unlogged table if not exists staging.onboarding_trace_scope (is_all boolean not null, since_batch bigint not null, batch bigint not null);
comment on table staging.onboarding_trace_scope is 'Whose events intermediate.onboarding_trace holds: everybody''s, or those of the people that changed after since_batch. One row.';
delete from staging.onboarding_trace_scope;
insert into staging.onboarding_trace_scope
select
    {{ onboarding_trace_is_all() }},
    coalesce((select min(consumed_batch) from {{ model_state() }} where model in ('{{ onboarding_readers() | join("', '") }}')), 0),
    (select batch from {{ change_cursor() }})
{%- endmacro %}


{#-
  For a reader: does the trace hold what this build of it needs? Where somebody selects a reader without the trace, it may not; then the
  events are looked up themselves.
-#}
{% macro trace_is_enough() %}
    {%- if not execute or flags.WHICH not in ("run", "build") -%} {{ return(true) }} {%- endif -%}
    {%- set plan = maintenance_plan() -%}
    {%- if mv_single_value("select to_regclass('staging.onboarding_trace_scope') is null or to_regclass('" ~ ref("onboarding_trace") ~ "') is null") -%}
        {{ return(false) }}
    {%- endif -%}
    {{ return(mv_single_value(
        "select coalesce(bool_or(batch >= (select batch from " ~ change_cursor() ~ ") and (is_all"
        ~ (" or since_batch <= " ~ plan.consumed if plan.mode == "partial" else "") ~ ")), false) from staging.onboarding_trace_scope")) }}
{% endmacro %}


{#- How a reader begins: `people` (where only changed ones are computed) and their `events`. -#}
{% macro onboarding_opening(is_partial, is_enough) -%}
    {%- if is_partial %}
    people as materialized {{ changed_keys(["person_key"]) }},
    {%- endif %}
    events as not materialized (
        {%- if is_enough %}
        select * from {{ ref("onboarding_trace") }} {%- if is_partial %} where person_key in (select person_key from people) {%- endif %}
        {%- elif is_partial %}
        {{ onboarding_trace_of("(" ~ onboarding_events("people") ~ ") as events") }}
        {%- else %}
        {{ onboarding_trace_of(ref("stg_onboarding_events")) }}
        {%- endif %}
    )
{%- endmacro %}


{#-
  For the capture of changes: everybody whose journeys may have become others. New events (however late), new links (both sides of
  them), what was removed or corrected, events that as_of passed, and journeys whose window closed with it.
-#}
{% macro onboarding_changes() -%}
    select coalesce(events.user_key, links.user_key, app.anonymous_key(events.anonymous_id)) as person_key
    from {{ source("app", "onboarding_events") }} as events
    left join {{ source("app", "identity_links") }} as links on links.anonymous_id = events.anonymous_id and events.user_key is null
    where {{ not_yet_seen("events.xid") }}
    union
    select unnest(array[links.user_key, app.anonymous_key(links.anonymous_id)])
    from {{ source("app", "identity_links") }} as links
    where {{ not_yet_seen("links.xid") }}
    union
    select removals.person_key
    from {{ source("app", "onboarding_removals") }} as removals
    where {{ not_yet_seen("removals.xid") }}
    union
    select coalesce(events.user_key, links.user_key, app.anonymous_key(events.anonymous_id))
    from {{ source("app", "onboarding_events") }} as events
    left join {{ source("app", "identity_links") }} as links on links.anonymous_id = events.anonymous_id and events.user_key is null
    where
        events.occurred_at > (select least(as_of, next_as_of) from {{ change_cursor() }})
        and events.occurred_at <= (select greatest(as_of, next_as_of) from {{ change_cursor() }})
    {%- if execute and flags.WHICH in ("run", "build") and relation_state({"schema": "marts", "identifier": "onboarding_journeys"}, at_start=true).exists %}
    union
    select journeys.person_key
    from marts.onboarding_journeys as journeys
    where
        journeys.matured_at >= (select least(as_of, next_as_of) from {{ change_cursor() }})
        and journeys.matured_at < (select greatest(as_of, next_as_of) from {{ change_cursor() }})
    {%- endif %}
{%- endmacro %}


{#- What is measured of the events of one step: the same over all events as over those in order. -#}
{% macro onboarding_step_measures(events) %}
            min({{ events }}.occurred_at) as reached_at,
            max({{ events }}.occurred_at) as last_event_at,
            min({{ events }}.occurred_at) filter (where event_type = 'started') as started_at,
            min({{ events }}.occurred_at) filter (where event_type = 'completed') as completed_at,
            min({{ events }}.occurred_at) filter (where event_type = 'skipped') as skipped_at,
            min({{ events }}.occurred_at) filter (where {{ events }}.is_done) as done_at,
            count(*) filter (where event_type = 'started')::int as starts,
            count(*) filter (where event_type = 'skipped')::int as skips,
            count(*) filter (where event_type = 'error')::int as errors,
            min({{ onboarding_stamp(events ~ ".occurred_at") }} || coalesce(error_code, '(none)')) filter (where event_type = 'error') as first_error,
            max({{ onboarding_stamp(events ~ ".occurred_at") }} || coalesce(error_code, '(none)')) filter (where event_type = 'error') as last_error,
            max({{ onboarding_stamp(events ~ ".occurred_at") }} || trace_id) as last_trace
{% endmacro %}


{#-
  An instant as 17 digits that sort like the instants: put before a text, the least or greatest is the first or last. Microseconds since
  2020, because from there a double holds them exactly until 2091; read as doubles, because numeric takes three times as long.
-#}
{% macro onboarding_stamp(instant) -%}
    (20000000000000000 + (date_part('epoch', {{ instant }} - timestamptz '2020-01-01 00:00:00+00') * 1000000)::bigint)::text
{%- endmacro %}

{% macro onboarding_stamped_at(stamped) -%}
    timestamptz '2020-01-01 00:00:00+00' + (left({{ stamped }}, 17)::bigint - 20000000000000000) * interval '1 microsecond'
{%- endmacro %}

{% macro onboarding_stamped_text(stamped) -%} substr({{ stamped }}, 18) {%- endmacro %}


{#-
  Bounds of Wilson's score interval for `hits` of `trials`, 95 % (Wilson 1927, J. Am. Stat. Assoc. 22:209); null where nothing was tried.
  side is '-' or '+'. In doubles throughout: a bare constant would be numeric, which takes ten times as long.
-#}
{% macro wilson_bound(hits, trials, side) -%}
    {%- set z = "1.959963984540054::double precision" -%}
    {%- set share = "(" ~ hits ~ " / " ~ trials ~ "::double precision)" -%}
    case
        when {{ trials }} > 0
        then
            least(
                greatest(
                    (
                        {{ share }}
                        + {{ z }} * {{ z }} / (2 * {{ trials }})
                        {{ side }} {{ z }} * sqrt(
                            greatest({{ share }} * (1 - {{ share }}), 0) / {{ trials }}
                            + {{ z }} * {{ z }} / (4 * {{ trials }}::double precision * {{ trials }})
                        )
                    )
                    / (1 + {{ z }} * {{ z }} / {{ trials }}),
                    0
                ),
                1
            )
    end
{%- endmacro %}


{#-
  Seed's post-hook: another flow means other journeys, so what was built of them is built anew; the same flow read again changes nothing.
-#}
{% macro forget_journeys_of_other_flows() -%}
create table if not exists staging.known_onboarding_flows (fingerprint text not null);
comment on table staging.known_onboarding_flows is 'Fingerprint of the flows that the journeys were built with. One row.';
delete from {{ model_state() }}
where
    model like 'onboarding\_%'
    and not exists (select from staging.known_onboarding_flows where fingerprint = (select md5(string_agg(flows::text, '|' order by flows::text)) from {{ this }} as flows));
delete from staging.known_onboarding_flows;
insert into staging.known_onboarding_flows select md5(string_agg(flows::text, '|' order by flows::text)) from {{ this }} as flows
{%- endmacro %}


{#- What cells are counted for: (grain, segment_by) pairs, '(all)' for the whole cohort. -#}
{% macro onboarding_segments() %}{{ return(["(all)", "platform", "app_version", "acquisition_channel"]) }}{% endmacro %}

{#- The same as grouping sets; `keys` come first. -#}
{% macro onboarding_grouping_sets(keys) -%}
        grouping sets (
            {%- for grain in ["cohort_week_on, cohort_on", "cohort_week_on"] %}
            {%- set last_grain = loop.last %}
            {%- for segment in onboarding_segments() %}
            ({{ keys }}, {{ grain }}{{ "" if segment == "(all)" else ", " ~ segment }}){{ "," if not (last_grain and loop.last) }}
            {%- endfor %}
            {%- endfor %}
        )
{%- endmacro %}

{% macro onboarding_cell_names() %}
            case when grouping(cohort_on) = 0 then 'day' else 'week' end as grain,
            case when grouping(cohort_on) = 0 then cohort_on else cohort_week_on end as cohort_on,
            cohort_week_on,
            case
                when grouping(platform) = 0 then 'platform'
                when grouping(app_version) = 0 then 'app_version'
                when grouping(acquisition_channel) = 0 then 'acquisition_channel'
                else '(all)'
            end as segment_by,
            coalesce(platform, app_version, acquisition_channel, '(all)') as segment
{%- endmacro %}


{#-
  Pre-hook: where everything is built, joins by hash only. Nothing is known about a person_key that is computed from two tables, and seven
  columns of a cell look unique to the planner: where it guesses a handful of rows, a nested loop or a merge on half the key never ends.
  Rows between processes are cheap beside what is computed of them, so both cores sort. With `groups` "sorted" they are taken as they come
  by an index (a hash table of as many is seven times slower), with "hashed" in one pass by one process, without a sort. "cells" are few and
  all alike: of their many columns a small sample says enough, as of the few rows of a partial build. A "view"
  keeps merge joins, because a concurrent refresh compares whole rows, which can't be hashed: 44,000 rows took two minutes without.
-#}
{% macro onboarding_plan_for_all(is_all=none, groups=none) -%}
    {%- if (is_all is none and is_partial()) or is_all is false -%} set local default_statistics_target = 10
    {%- else -%}
    set local enable_nestloop = off; set local parallel_tuple_cost = 0.01
    {%- if groups != "view" -%} ; set local enable_mergejoin = off {%- endif -%}
    {%- if groups == "sorted" -%} ; set local enable_hashagg = off {%- endif -%}
    {%- if groups in ("cells", "view", "hashed") -%} ; set local default_statistics_target = {{ 20 if groups == "hashed" else 5 }} {%- endif -%}
    {%- if groups == "hashed" -%} ; set local enable_sort = off; set local parallel_tuple_cost = 1000 {%- endif -%}
    {%- endif -%}
{%- endmacro %}
