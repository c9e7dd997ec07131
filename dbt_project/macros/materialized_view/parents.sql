{#- Plain dbt tables and views whose rebuild never drops what reads them: they replace dbt-postgres' own, which drop by CASCADE. -#}
{% materialization table, adapter='postgres' -%}
    {%- set target = this.incorporate(type='table') -%}
    {%- set candidate = target.incorporate(path={'identifier': target.identifier ~ '__candidate'}) -%}
    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {%- do drop_candidate(candidate) -%}
    {%- call statement('main') -%} {{ get_create_table_as_sql(False, candidate, sql) }} {%- endcall -%}
    {%- do build_indexes(candidate, config.get('indexes', default=[])) -%}
    {%- do copy_grants(target, candidate) -%}
    {%- do apply_grants(candidate, config.get('grants'), should_revoke=false) -%}
    {%- do persist_docs(candidate, model) -%}
    {%- do write_candidate_to_disk() -%}
    {%- do swap_or_fail(candidate, target) -%}
    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {%- do adapter.commit() -%}
    {%- do drop_retired_relations() -%}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({'relations': [target]}) }}
{%- endmaterialization %}


{#- Replaced in place; where columns were renamed, removed or changed their type, swapped like a table. -#}
{% materialization view, adapter='postgres' -%}
    {%- set target = this.incorporate(type='view') -%}
    {%- set candidate = target.incorporate(path={'identifier': target.identifier ~ '__candidate'}) -%}
    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {%- set fingerprint = local_md5(sql ~ model.description ~ tojson(model.columns)) -%}
    {%- set state = mv_single_value(
        "select obj_description(r.oid, 'pg_rewrite') || case when exists (
            select from pg_depend d join pg_class p on d.refclassid = 'pg_class'::regclass and p.oid = d.refobjid
            where d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and p.relname like '%\\_\\_retired\\_%') then ' reads a retired relation' else '' end
         from pg_rewrite r where r.ev_class = to_regclass('" ~ target ~ "') and r.rulename = '_RETURN'") -%}
    {%- if state == fingerprint and not should_full_refresh() -%}
        {%- call statement('main') -%} select 1 as unchanged {%- endcall -%}
    {%- else -%}
        {%- do drop_candidate(candidate) -%}
        {%- call statement('main') -%} {{ get_create_view_as_sql(candidate, sql) }} {%- endcall -%}
        {%- do copy_grants(target, candidate) -%}
        {%- do apply_grants(candidate, config.get('grants'), should_revoke=false) -%}
        {%- do persist_docs(candidate, model) -%}
        {%- do run_query('comment on rule "_RETURN" on ' ~ candidate ~ " is '" ~ fingerprint ~ "'") -%}
        {%- do swap_or_fail(candidate, target) -%}
    {%- endif -%}
    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {%- do adapter.commit() -%}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({'relations': [target]}) }}
{%- endmaterialization %}


{% macro swap_or_fail(candidate, target) %}
    {%- set seconds = config.get('give_up_after_seconds', default=600) -%}
    {%- if not try_to_swap(candidate, target, config.get('lock_timeout_ms', default=25), seconds) -%}
        {{ exceptions.raise_compiler_error(
            target ~ ' could not be replaced within ' ~ seconds ~ ' s, because a transaction keeps using it. The old one still serves; '
            ~ 'the next build tries again. pg_stat_activity shows who holds it.') }}
    {%- endif -%}
{% endmacro %}
