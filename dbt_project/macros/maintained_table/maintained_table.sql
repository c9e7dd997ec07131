{#- A table that is kept true by computing only the keys that changed, and replaced in place. README.md beside this file. -#}
{% materialization maintained_table, adapter='postgres' -%}
    {%- set target = this.incorporate(type='table') -%}
    {%- set plan = maintenance_plan() -%}
    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {{ log(target ~ ': ' ~ plan.mode ~ ' (' ~ plan.reason ~ ')') }}

    {%- if plan.mode == 'full' -%}
        {%- set candidate = target.incorporate(path={'identifier': target.identifier ~ '__candidate'}) -%}
        {%- do drop_candidate(candidate) -%}
        {%- do use_all_cores() -%}
        {%- call statement('main') -%} create table {{ candidate }} as {{ sql }} {%- endcall -%}
        {%- do mv_check_contract(candidate, model) -%}
        {%- do constrain_candidate(candidate, target) -%}
        {%- do build_indexes(candidate, config.get('indexes', default=[])) -%}
        {%- do analyze_candidate(candidate) -%}
        {%- do copy_grants(target, candidate) -%}
        {%- do apply_grants(candidate, config.get('grants'), should_revoke=false) -%}
        {%- do persist_docs(candidate, model) -%}
        {%- do write_candidate_to_disk() -%}
        {%- do remember_model(plan, 'clock_timestamp()', mv_single_value("select greatest(reltuples, 0)::bigint from pg_class where oid = '" ~ candidate ~ "'::regclass"), true) -%}
        {%- do swap_or_fail(candidate, target) -%}
    {%- elif plan.mode == 'partial' -%}
        {%- set changed = apply_difference(target, sql) -%}
        {%- do remember_model(plan, 'rebuilt_at', changed, changed > 0) -%}
    {%- else -%}
        {%- call statement('main') -%} select 1 as unchanged {%- endcall -%}
    {%- endif -%}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {%- do adapter.commit() -%}
    {%- if plan.mode == 'full' -%} {%- do drop_retired_relations() -%} {%- endif -%}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({'relations': [target]}) }}
{%- endmaterialization %}


{#- not null, check and primary key, from the contract and the model's `primary_key`. One pass over the table, then one index. -#}
{% macro constrain_candidate(candidate, target) %}
    {%- set clauses = [] -%}
    {%- for column in model.columns.values() -%}
        {%- for constraint in column.constraints -%}
            {%- set type = constraint.type | string -%}
            {%- if type == 'not_null' or type == 'ConstraintType.not_null' -%}
                {%- do clauses.append('alter column ' ~ adapter.quote(column.name) ~ ' set not null') -%}
            {%- elif type == 'check' or type == 'ConstraintType.check' -%}
                {%- do clauses.append('add ' ~ ('constraint ' ~ adapter.quote(constraint.name) ~ ' ' if constraint.name else '') ~ 'check (' ~ constraint.expression ~ ')') -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- if clauses -%} {%- do run_query('alter table ' ~ candidate ~ ' ' ~ clauses | join(', ')) -%} {%- endif -%}
    {%- set key = config.require('primary_key') -%}
    {%- set name = target.identifier[:50] ~ '_pk__candidate' -%}
    {%- do run_query('create unique index ' ~ adapter.quote(name) ~ ' on ' ~ candidate ~ ' (' ~ key | join(', ') ~ ')') -%}
    {%- set not_nulls = [] -%}
    {%- do run_query('alter table ' ~ candidate ~ ' add primary key using index ' ~ adapter.quote(name)) -%}
{% endmacro %}


{#-
  Computes the rows of the changed keys, removes those that no longer hold and inserts those that are new: rows that came out the
  same are not written. Where the model `emits` columns, the keys of the rows that differ go into the queue (same batch), for the
  models below. Returns how many rows were written.
-#}
{% macro apply_difference(target, sql) %}
    {%- set key = config.require('primary_key') -%}
    {%- set replaces = config.require('replaces') -%}
    {%- set emits = config.get('emits', default=[]) -%}
    {%- set fresh = target.identifier ~ '__fresh' -%}
    {%- set batch = maintenance_plan().batch -%}
    {%- set same_key = [] -%}
    {%- for column in key -%} {%- do same_key.append('f.' ~ column ~ ' = t.' ~ column) -%} {%- endfor -%}
    {%- set tuple = '(' ~ replaces | join(', ') ~ ')' -%}
    {%- do run_query('create temporary table ' ~ fresh ~ ' on commit drop as ' ~ sql) -%}
    {%- do run_query('analyze ' ~ fresh) -%}
    {%- call statement('main', fetch_result=true) -%}
with removed as (
    delete from {{ target }} t
    where {{ tuple }} in {{ changed_keys(replaces) }}
      and not exists (select from {{ fresh }} f where {{ same_key | join(' and ') }} and f.* is not distinct from t.*)
    returning t.*
),
emitted as (
    {%- if emits %}
    insert into {{ change_queue() }} (batch, kind, {{ emits | join(', ') }})
    select distinct {{ batch }}, '{{ model.name }}', {{ emits | join(', ') }}
    from (
        select {{ emits | join(', ') }} from removed
        union
        select {{ emits | join(', ') }} from {{ fresh }} f
        where not exists (select from {{ target }} t where {{ same_key | join(' and ') }} and t.* is not distinct from f.*)
    ) differing
    returning 1
    {%- else %} select 1 where false {%- endif %}
)
select (select count(*) from removed) as removed, (select count(*) from emitted) as emitted
    {%- endcall -%}
    {%- set removed = load_result('main').table.rows[0]['removed'] | int -%}
    {%- call statement('insert', fetch_result=true) -%}
with inserted as (
    insert into {{ target }} select f.* from {{ fresh }} f
    where not exists (select from {{ target }} t where {{ same_key | join(' and ') }})
    returning 1
)
select count(*) as inserted from inserted
    {%- endcall -%}
    {{ return(removed + load_result('insert').table.rows[0]['inserted'] | int) }}
{% endmacro %}


{% macro remember_model(plan, rebuilt_at, rows_changed, has_changed) %}
    {%- call statement('remember_model') -%}
insert into {{ model_state() }} as s (model, definition, consumed_batch, changed_batch, rebuilt_at, rows_changed)
values ('{{ model.name }}', '{{ model_fingerprint() }}', {{ plan.batch }}, {{ plan.batch }}, clock_timestamp(), {{ rows_changed }})
on conflict (model) do update set
    definition = excluded.definition, consumed_batch = excluded.consumed_batch,
    {% if has_changed %} changed_batch = excluded.changed_batch, {% endif %}
    rebuilt_at = {{ 'excluded.rebuilt_at' if rebuilt_at == 'clock_timestamp()' else 's.rebuilt_at' }}, rows_changed = excluded.rows_changed
    {%- endcall -%}
{% endmacro %}


{#- For a materialised view's `source_version`: changes exactly when one of these maintained tables did. -#}
{% macro version_of(models) %}
    {{ return("select string_agg(model || ' ' || changed_batch || ' ' || extract(epoch from rebuilt_at), ', ' order by model) from " ~ model_state()
        ~ " where model in ('" ~ models | join("', '") ~ "')") }}
{% endmacro %}
