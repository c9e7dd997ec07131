{#- What each maintained table has seen: a queue of changed keys, and one row of state per consumer. README.md beside this file. -#}

{#- Where the queue and the state live. Variables, so that another project can choose. -#}
{% macro change_queue() %}{{ return(var('change_queue', 'staging.changes')) }}{% endmacro %}
{% macro change_cursor() %}{{ return(var('change_cursor', 'staging.change_cursor')) }}{% endmacro %}
{% macro model_state() %}{{ return(var('model_state', 'staging.model_state')) }}{% endmacro %}


{#- on-run-start. Cheap where the tables stand; asks on the run's own connection what the first models would ask on new ones. -#}
{% macro prepare_change_tables() %}
    {%- if execute and flags.WHICH in ('run', 'build') -%}
        {%- do look_at_relations() -%}
        {%- if mv_single_value("select to_regclass('" ~ change_cursor() ~ "') is not null and to_regclass('" ~ model_state() ~ "') is not null") -%}
            {%- do maintenance_state() -%}
        {%- endif -%}
    {%- endif -%}
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


{#-
  The cursor and every model's state, asked once and then kept up by those who change it. A number counts how often it was forgotten, so
  that an answer that was asked for before isn't taken for a newer one.
-#}
{% macro maintenance_state() %}
    {%- set memory = run_memory() -%}
    {%- set name = 'maintenance state ' ~ memory.get('times_forgotten', 0) -%}
    {%- if name in memory -%} {{ return(memory[name]) }} {%- endif -%}
    {#- Where two threads asked, both go on with the same answer. -#}
    {{ return(memory.setdefault(name, maintenance_state_of(run_query(maintenance_state_sql())))) }}
{% endmacro %}


{% macro maintenance_state_sql() %}
    {{ return("select c.batch, c.snapshot::text as snapshot, c.as_of::text as as_of, s.model, s.definition, s.consumed_batch,
            (extract(epoch from s.rebuilt_at) * 1000000)::bigint as rebuilt_at
        from " ~ change_cursor() ~ " c left join " ~ model_state() ~ " s on true") }}
{% endmacro %}


{% macro maintenance_state_of(found) %}
    {%- set models = {} -%}
    {%- for row in found.rows if row['model'] -%}
        {%- do models.update({row['model']: {
            'definition': row['definition'], 'consumed': row['consumed_batch'] | int, 'rebuilt_at': row['rebuilt_at'] | int}}) -%}
    {%- endfor -%}
    {%- set first = found.rows[0] -%}
    {{ return({'batch': first['batch'] | int, 'snapshot': first['snapshot'], 'as_of': first['as_of'], 'models': models}) }}
{% endmacro %}


{#- What was known is old; `now`, where it is given, holds instead. -#}
{% macro forget_maintenance_state(now=none) %}
    {%- set memory = run_memory() -%}
    {%- set times = memory.get('times_forgotten', 0) + 1 -%}
    {%- if now -%} {%- do memory.update({'maintenance state ' ~ times: now}) -%} {%- endif -%}
    {%- do memory.update({'times_forgotten': times}) -%}
{% endmacro %}


{#- The model that was just built has consumed this batch. -#}
{% macro recall_consumed(batch) %}
    {%- do maintenance_state().models[model.name].update({'consumed': batch}) -%}
{% endmacro %}


{#- {mode: full | partial | none, batch, reason} for the model that is being compiled or built. -#}
{% macro maintenance_plan() %}
    {%- if not execute or flags.WHICH not in ('run', 'build') or model.resource_type != 'model' -%}
        {{ return({'mode': 'full', 'batch': 0, 'reason': 'nothing is executed'}) }}
    {%- endif -%}
    {%- set memory = run_memory() -%}
    {%- set name = 'plan of ' ~ model.unique_id -%}
    {%- if name in memory -%} {{ return(memory[name]) }} {%- endif -%}
    {%- set state = maintenance_state() -%}
    {%- set own = state.models.get(model.name) -%}
    {%- set parents = [] -%}
    {%- for name in maintained_parents(model) if name in state.models -%} {%- do parents.append(state.models[name]) -%} {%- endfor -%}
    {%- set newest = ([state.batch] + parents | map(attribute='consumed') | list) | min -%}
    {%- set plan = {'batch': newest, 'consumed': own.consumed if own else none} -%}
    {%- if not own or not relation_state(this, at_start=true).exists -%} {%- do plan.update({'mode': 'full', 'reason': 'it does not exist'}) -%}
    {%- elif should_full_refresh() -%} {%- do plan.update({'mode': 'full', 'reason': 'full refresh'}) -%}
    {%- elif own.definition != model_fingerprint() -%} {%- do plan.update({'mode': 'full', 'reason': 'its definition changed'}) -%}
    {%- elif parents | selectattr('rebuilt_at', 'gt', own.rebuilt_at) | list -%} {%- do plan.update({'mode': 'full', 'reason': 'a parent was rebuilt'}) -%}
    {%- elif newest <= own.consumed -%} {%- do plan.update({'mode': 'none', 'reason': 'nothing changed'}) -%}
    {%- elif most_keys_changed(own.consumed) -%} {%- do plan.update({'mode': 'full', 'reason': 'most of its keys changed'}) -%}
    {%- else -%} {%- do plan.update({'mode': 'partial', 'reason': 'batches up to ' ~ newest}) -%}
    {%- endif -%}
    {{ return(memory.setdefault(name, plan)) }}
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


{#-
  Are more of the table's keys to be computed anew than `rebuild_share`, so that all of them take less time? By the planner's statistics
  of how many values the first column of `replaces` has; tables of few rows (variable `rebuild_from_rows`) are fast in any case.
-#}
{% macro most_keys_changed(consumed) %}
    {%- set share = config.get('rebuild_share') -%}
    {%- if share is none -%} {{ return(false) }} {%- endif -%}
    {%- set key = config.require('replaces') | first -%}
    {{ return(mv_single_value(
        "select c.reltuples >= " ~ var('rebuild_from_rows', 100000)
        ~ " and (select count(*) from " ~ changed_keys([key], consumed) ~ " as changed)"
        ~ " > " ~ share ~ " * case when s.n_distinct < 0 then -s.n_distinct * c.reltuples else s.n_distinct end"
        ~ " from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        ~ " join pg_stats s on s.schemaname = n.nspname and s.tablename = c.relname and s.attname = '" ~ key ~ "'"
        ~ " where c.oid = '" ~ this ~ "'::regclass")) }}
{% endmacro %}


{#- For a model's SQL: what changed that this model has still to compute, as a subquery of the queue's rows. -#}
{% macro changes_to_compute(consumed=none) %}
    {%- set kinds = config.get('change_kinds', default=[]) -%}
    (select * from {{ change_queue() }}
     where batch > {{ maintenance_plan().consumed or 0 if consumed is none else consumed }}
       {%- if kinds %} and kind in ('{{ kinds | join("', '") }}') {%- endif %})
{%- endmacro %}


{#- The same as keys. -#}
{% macro changed_keys(columns, consumed=none) %}
    (select distinct {{ columns | join(', ') }} from {{ changes_to_compute(consumed) }} as changed
     where {{ columns | join(' is not null and ') }} is not null)
{%- endmacro %}


{#- For a source's SQL: rows that the last capture could not see. Exactly those: neither late commits nor doubles. -#}
{% macro not_yet_seen(xid_column) %}
    {%- set snapshot = maintenance_state().snapshot if execute and flags.WHICH in ('run', 'build') else none -%}
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
        (timestamptz '{{ maintenance_state().as_of }}')
    {%- else -%} (select as_of from {{ change_cursor() }}) {%- endif -%}
{% endmacro %}
