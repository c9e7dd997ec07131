{#- What each maintained table has seen: a queue of changed keys, and one row of state per consumer. README.md beside this file. -#}

{#- Where the queue and the state live. Variables, so that another project can choose. -#}
{% macro change_queue() %}{{ return(var('change_queue', 'staging.changes')) }}{% endmacro %}
{% macro change_cursor() %}{{ return(var('change_cursor', 'staging.change_cursor')) }}{% endmacro %}
{% macro model_state() %}{{ return(var('model_state', 'staging.model_state')) }}{% endmacro %}


{#- on-run-start. Cheap where the tables stand. -#}
{% macro prepare_change_tables() %}
    {%- if execute and flags.WHICH in ('run', 'build', 'test', 'seed', 'snapshot') -%}
create table if not exists {{ change_queue() }} (
    batch bigint not null, kind text not null, user_key bigint, workout_key bigint, local_date date,
    person_key bigint, cohort_on date, cohort_week_on date
);
do $$ begin
    if not exists (select from pg_attribute where attrelid = '{{ change_queue() }}'::regclass and attname = 'cohort_on') then
        alter table {{ change_queue() }} add column cohort_on date;
    end if;
end $$;
create table if not exists {{ change_cursor() }} (
    is_current boolean primary key default true check (is_current),
    batch bigint not null, snapshot pg_snapshot, as_of timestamptz not null, captured_at timestamptz not null,
    next_snapshot pg_snapshot, next_as_of timestamptz
);
create table if not exists {{ model_state() }} (
    model text primary key, definition text not null, consumed_batch bigint not null, changed_batch bigint not null,
    rebuilt_at timestamptz not null, rows_changed bigint not null
);
comment on table {{ change_queue() }} is 'Keys that changed since the last build, by batch; kept until every maintained table has consumed the batch.';
comment on table {{ change_cursor() }} is 'Up to which snapshot the sources were searched for changes, and the instant that the models take for now. One row.';
comment on table {{ model_state() }} is 'What each maintained table has consumed and when it was last rebuilt in full. One row per model.';
insert into {{ change_cursor() }} (batch, snapshot, as_of, captured_at)
select 0, null, coalesce((select as_of from {{ var('build_clock') }}), now()), clock_timestamp()
on conflict do nothing
    {%- endif -%}
{% endmacro %}


{#- {mode: full | partial | none, batch, reason} for the model that is being compiled or built. -#}
{% macro maintenance_plan() %}
    {%- if not execute or flags.WHICH not in ('run', 'build') or model.resource_type != 'model' -%}
        {{ return({'mode': 'full', 'batch': 0, 'reason': 'nothing is executed'}) }}
    {%- endif -%}
    {%- set parents = maintained_parents(model) -%}
    {%- set row = run_query(
        "select (select batch from " ~ change_cursor() ~ ") as newest, s.consumed_batch, s.definition, to_regclass('" ~ this ~ "') is not null as is_there,
            exists (select from " ~ model_state() ~ " p where p.model in ('" ~ parents | join("', '") ~ "') and p.rebuilt_at > s.rebuilt_at) as parent_was_rebuilt,
            coalesce((select min(p.consumed_batch) from " ~ model_state() ~ " p where p.model in ('" ~ parents | join("', '") ~ "')), 9223372036854775807) as parents_consumed
         from (select 1) one left join " ~ model_state() ~ " s on s.model = '" ~ model.name ~ "'").rows[0] -%}
    {%- set newest = [row['newest'] | int, row['parents_consumed'] | int] | min -%}
    {%- set plan = {'batch': newest, 'consumed': row['consumed_batch'] | int} -%}
    {%- if row['consumed_batch'] is none or not row['is_there'] -%} {%- do plan.update({'mode': 'full', 'reason': 'it does not exist'}) -%}
    {%- elif should_full_refresh() -%} {%- do plan.update({'mode': 'full', 'reason': 'full refresh'}) -%}
    {%- elif row['definition'] != model_fingerprint() -%} {%- do plan.update({'mode': 'full', 'reason': 'its definition changed'}) -%}
    {%- elif row['parent_was_rebuilt'] -%} {%- do plan.update({'mode': 'full', 'reason': 'a parent was rebuilt'}) -%}
    {%- elif newest <= row['consumed_batch'] | int -%} {%- do plan.update({'mode': 'none', 'reason': 'nothing changed'}) -%}
    {%- else -%} {%- do plan.update({'mode': 'partial', 'reason': 'batches up to ' ~ newest}) -%}
    {%- endif -%}
    {{ return(plan) }}
{% endmacro %}


{#- Names of the maintained tables that a model reads, through views too. -#}
{% macro maintained_parents(node) %}
    {%- set names = [] -%}
    {%- for id in node.depends_on.nodes if id in graph.nodes -%}
        {%- set parent = graph.nodes[id] -%}
        {%- if parent.config.materialized == 'maintained_table' -%} {%- do names.append(parent.name) -%}
        {%- elif parent.config.materialized == 'view' -%} {%- do names.extend(maintained_parents(parent)) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(names) }}
{% endmacro %}


{% macro model_fingerprint() %}
    {{ return(local_md5(model.raw_code ~ tojson(config.get('indexes', default=[])) ~ tojson(config.get('primary_key', default=[])))) }}
{% endmacro %}


{#- For a model's SQL: is only what changed to be computed? (Unit tests override it.) -#}
{% macro is_partial() %}{{ return(maintenance_plan().mode == 'partial') }}{% endmacro %}


{#- For a model's SQL: the changed keys that this model has still to compute, as a subquery. -#}
{% macro changed_keys(columns) %}
    {%- set kinds = config.get('change_kinds', default=[]) -%}
    (select distinct {{ columns | join(', ') }} from {{ change_queue() }}
     where batch > (select consumed_batch from {{ model_state() }} where model = '{{ model.name }}')
       {%- if kinds %} and kind in ('{{ kinds | join("', '") }}') {%- endif %}
       {%- for column in columns %} and {{ column }} is not null {%- endfor %})
{%- endmacro %}


{#- For a source's SQL: rows that the last capture could not see. Exactly those: neither late commits nor doubles. -#}
{% macro not_yet_seen(xid_column) %}
    {%- set snapshot = mv_single_value("select snapshot::text from " ~ change_cursor()) if execute and flags.WHICH in ('run', 'build') else none -%}
    {%- if snapshot -%}
    ({{ xid_column }} >= pg_snapshot_xmin('{{ snapshot }}'::pg_snapshot) and not pg_visible_in_snapshot({{ xid_column }}, '{{ snapshot }}'::pg_snapshot))
    {%- else -%} false {%- endif -%}
{% endmacro %}


{#-
  For a model's SQL: the instant that this build takes for now. A constant where rows are stored, because a subquery would keep Postgres
  from using more than one core; in a view it must stay the instant of the build that reads it.
-#}
{% macro as_of() %}
    {%- if execute and flags.WHICH in ('run', 'build') and model.config is defined and model.config.materialized == 'maintained_table' -%}
        (timestamptz '{{ mv_single_value("select as_of::text from " ~ change_cursor()) }}')
    {%- else -%} (select as_of from {{ change_cursor() }}) {%- endif -%}
{% endmacro %}
