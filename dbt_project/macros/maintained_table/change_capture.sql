{#-
  The model that fills the queue. Its SQL returns (kind, user_key, workout_key, local_date, person_key) of everything that changed after the last
  capture's snapshot. One transaction: read the snapshot, search, queue, move the cursor. Reading the snapshot first means that what
  commits in between is searched again by the next build, never missed. `needs` names relations that its SQL reads as they stand:
  where one is missing, everything is built anew. Post-hooks run before the cursor moves. Models that none of the kinds found concerns
  have consumed the batch at once, unless they listen to another model.
-#}
{% materialization change_capture, adapter='postgres' -%}
    {%- set target = this.incorporate(type='table') -%}
    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {%- set missing = ['false'] -%}
    {%- for relation in config.get('needs', default=[]) -%} {%- do missing.append("to_regclass('" ~ relation ~ "') is null") -%} {%- endfor -%}
    {%- set now = run_batch([
        "update " ~ change_cursor() ~ " set next_snapshot = pg_current_snapshot(),
            next_as_of = coalesce((select as_of from " ~ var('build_clock') ~ "), now())
         returning batch + 1 as batch, " ~ missing | join(' or ') ~ "
            or coalesce(snapshot is null or pg_snapshot_xmin(snapshot) > pg_snapshot_xmax(next_snapshot), true) as is_first"
    ]).rows[0] -%}
    {%- set live, listeners, names = [], [], [] -%}
    {%- for node in graph.nodes.values() if node.config.materialized == 'maintained_table' -%} {%- do live.append(node) -%} {%- do names.append(node.name) -%} {%- endfor -%}
    {%- for node in live -%}
        {%- set kinds = node.config.get('change_kinds', []) -%}
        {%- if kinds and not kinds | select('in', names) | list -%}
            {%- do listeners.append("('" ~ node.name ~ "', array['" ~ kinds | join("', '") ~ "'])") -%}
        {%- endif -%}
    {%- endfor -%}

    {%- if now['is_first'] -%}
        {#- Nothing was captured yet, or the cluster is another one than the snapshot's: everything is built anew. -#}
        {%- call statement('main', fetch_result=true) -%} delete from {{ model_state() }} returning 1 {%- endcall -%}
        {%- set found = 1 -%}
    {%- else -%}
        {%- call statement('main', fetch_result=true) -%}
with captured as (
    insert into {{ change_queue() }} (batch, kind, user_key, workout_key, local_date, person_key)
    select distinct {{ now['batch'] }}, kind, user_key, workout_key, local_date, person_key from ({{ sql }}) changed
    returning 1
)
select count(*) as captured from captured
        {%- endcall -%}
        {%- set found = load_result('main').table.rows[0]['captured'] | int -%}
    {%- endif -%}
    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {%- call statement('move_cursor', fetch_result=true) -%}
update {{ change_cursor() }} set snapshot = next_snapshot, as_of = next_as_of, captured_at = clock_timestamp()
    {%- if found %}, batch = {{ now['batch'] }} {%- endif %};
insert into {{ var('watermarks') }} as w (name, xid) select 'marts', pg_snapshot_xmin(snapshot) from {{ change_cursor() }}
on conflict (name) do update set xid = excluded.xid, moved_at = clock_timestamp();
delete from {{ model_state() }} where model not in ('{{ names | join("', '") }}');
{%- if found and listeners %}
update {{ model_state() }} s set consumed_batch = {{ now['batch'] }}
from (values {{ listeners | join(', ') }}) as listener (model, kinds)
where s.model = listener.model and s.consumed_batch = {{ now['batch'] }} - 1
  and not exists (select from {{ change_queue() }} q where q.batch = {{ now['batch'] }} and q.kind = any(listener.kinds));
{%- endif %}
delete from {{ change_queue() }} where batch <= (select min(consumed_batch) from {{ model_state() }});
{%- if found %} analyze {{ change_queue() }}; {%- endif %}
{{ maintenance_state_sql() }}
    {%- endcall -%}
    {%- do adapter.commit() -%}
    {%- do forget_maintenance_state(now=maintenance_state_of(load_result('move_cursor').table)) -%}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({'relations': [target]}) }}
{%- endmaterialization %}
