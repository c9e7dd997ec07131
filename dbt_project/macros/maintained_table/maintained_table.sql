{#- A table that is kept true by computing only the keys that changed, and replaced in place. README.md beside this file. -#}
{% materialization maintained_table, adapter='postgres' -%}
    {%- set target = this.incorporate(type='table') -%}
    {%- set plan = maintenance_plan() -%}
    {{ log(target ~ ': ' ~ plan.mode ~ ' (' ~ plan.reason ~ ')') }}
    {%- if plan.mode == 'none' -%}
        {%- do report_unchanged() -%}
        {{ return({'relations': [target]}) }}
    {%- endif -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {%- if plan.mode == 'full' -%}
        {%- set candidate = target.incorporate(path={'identifier': target.identifier ~ '__candidate'}) -%}
        {%- call statement('main') -%}
{{ drop_candidate_sql(candidate) }};
{{ rebuild_settings_sql() }};
create table {{ candidate }} as {{ sql }}
        {%- endcall -%}
        {%- do run_batch([
            mv_contract_sql(candidate, model),
            constraints_sql(candidate, target),
            indexes_sql(candidate, config.get('indexes', default=[])),
            analyze_sql(candidate),
            copy_grants_sql(target, candidate),
            comments_sql(candidate, 'table'),
            'select 1',
        ]) -%}
        {%- do apply_grants(candidate, config.get('grants'), should_revoke=false) -%}
        {%- set rows = "(select greatest(reltuples, 0)::bigint from pg_class where oid = '" ~ candidate ~ "'::regclass)" -%}
        {%- do swap_or_fail(candidate, target, before=[remember_model_sql(plan.batch, rows)]) -%}
    {%- else -%}
        {%- do apply_difference(target, sql, plan) -%}
    {%- endif -%}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {%- do adapter.commit() -%}
    {%- if plan.mode == 'full' -%}
        {%- do drop_retired_relations() -%}
        {%- do forget_maintenance_state() -%}
    {%- else -%}
        {%- do recall_consumed(plan.batch) -%}
    {%- endif -%}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({'relations': [target]}) }}
{%- endmaterialization %}


{#- not null, check and primary key, from the contract and the model's `primary_key`. One pass over the table, then one index. -#}
{% macro constraints_sql(candidate, target) %}
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
    {%- set key = config.require('primary_key') -%}
    {%- set name = adapter.quote(target.identifier[:50] ~ '_pk__candidate') -%}
    {#- The key's columns, too: adding the key to an index would look through the table once more for nulls. -#}
    {%- for column in key -%} {%- do clauses.append('alter column ' ~ column ~ ' set not null') -%} {%- endfor -%}
    {{ return([
        'alter table ' ~ candidate ~ ' ' ~ clauses | unique | join(', '),
        'create unique index ' ~ name ~ ' on ' ~ candidate ~ ' (' ~ key | join(', ') ~ ')',
        'alter table ' ~ candidate ~ ' add primary key using index ' ~ name,
    ] | join(';\n')) }}
{% endmacro %}


{#-
  Computes the rows of the changed keys, removes those that no longer hold and inserts those that are new: rows that came out the
  same are not written. Where the model `emits` columns, the keys of the rows that differ go into the queue (same batch), for the
  models below. One round trip.

  The insertion reads the count of what was removed, so that Postgres removes first and no key is there twice. The commit needn't wait
  for the disk: what a crash takes back is the rows and the batch together, and the batch is built again.
-#}
{% macro apply_difference(target, sql, plan) %}
    {%- set replaces = config.require('replaces') -%}
    {%- set emits = config.get('emits', default=[]) -%}
    {%- set fresh = target.identifier ~ '__fresh' -%}
    {%- set key = config.require('primary_key') -%}
    {%- set same_key = [] -%}
    {%- for column in key -%} {%- do same_key.append('f.' ~ column ~ ' = t.' ~ column) -%} {%- endfor -%}
    {%- set same_key = same_key | join(' and ') -%}
    {%- call statement('main', fetch_result=true) -%}
set local synchronous_commit = off;
create temporary table {{ fresh }} on commit drop as {{ sql }};
analyze {{ fresh }} ({{ key | join(', ') }});
with removed as (
    delete from {{ target }} t
    where ({{ replaces | join(', ') }}) in {{ changed_keys(replaces) }}
      and not exists (select from {{ fresh }} f where {{ same_key }} and f.* is not distinct from t.*)
    returning {{ emits | join(', ') if emits else '1' }}
),
added as {{ 'materialized' if emits }} (
    select f.* from {{ fresh }} f where not exists (select from {{ target }} t where {{ same_key }} and t.* is not distinct from f.*)
),
{%- if emits %}
emitted as (
    insert into {{ change_queue() }} (batch, kind, {{ emits | join(', ') }})
    select {{ plan.batch }}, '{{ model.name }}', {{ emits | join(', ') }}
    from (select {{ emits | join(', ') }} from removed union select {{ emits | join(', ') }} from added) differing
),
{%- endif %}
inserted as (
    insert into {{ target }} select * from added where (select count(*) from removed) >= 0
    returning 1
)
{{ remember_model_sql(plan.batch, "(select count(*) from removed) + (select count(*) from inserted)", is_rebuilt=false) }}
returning rows_changed
    {%- endcall -%}
{% endmacro %}


{#- What the model has consumed; a table that was rebuilt, or of which rows changed, counts as changed. -#}
{% macro remember_model_sql(batch, rows_changed, is_rebuilt=true) %}
    {%- set statement -%}
insert into {{ model_state() }} as s (model, definition, consumed_batch, changed_batch, rebuilt_at, rows_changed)
values ('{{ model.name }}', '{{ model_fingerprint() }}', {{ batch }}, {{ batch }}, clock_timestamp(), {{ rows_changed }})
on conflict (model) do update set
    definition = excluded.definition, consumed_batch = excluded.consumed_batch, rows_changed = excluded.rows_changed,
    {% if is_rebuilt -%} changed_batch = excluded.changed_batch, rebuilt_at = excluded.rebuilt_at
    {%- else -%} changed_batch = case when excluded.rows_changed > 0 then excluded.changed_batch else s.changed_batch end {%- endif %}
    {%- endset -%}
    {{ return(statement) }}
{% endmacro %}


{#- For a materialised view's `source_version`: changes exactly when one of these maintained tables did. -#}
{% macro version_of(models) %}
    {{ return("select string_agg(model || ' ' || changed_batch || ' ' || extract(epoch from rebuilt_at), ', ' order by model) from " ~ model_state()
        ~ " where model in ('" ~ models | join("', '") ~ "')") }}
{% endmacro %}
