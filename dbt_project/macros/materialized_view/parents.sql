{#- Plain dbt tables and views whose rebuild never drops what reads them: they replace dbt-postgres' own, which drop by CASCADE. -#}
{% materialization table, adapter='postgres' -%}
    {%- set target = this.incorporate(type='table') -%}
    {%- set candidate = target.incorporate(path={'identifier': target.identifier ~ '__candidate'}) -%}
    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {%- call statement('main') -%}
{{ drop_candidate_sql(candidate) }};
{{ rebuild_settings_sql() }};
{{ get_create_table_as_sql(False, candidate, sql) }}
    {%- endcall -%}
    {%- do run_batch([
        indexes_sql(candidate, config.get('indexes', default=[])),
        analyze_sql(candidate),
        copy_grants_sql(target, candidate),
        comments_sql(candidate, 'table'),
        'select 1',
    ]) -%}
    {%- do apply_grants(candidate, config.get('grants'), should_revoke=false) -%}
    {%- do swap_or_fail(candidate, target) -%}
    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {%- do adapter.commit() -%}
    {%- do drop_retired_relations() -%}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({'relations': [target]}) }}
{%- endmaterialization %}


{#- Where the definition or a parent changed it is swapped like a table; else nothing is done, and no hook runs: it has no rows to refresh. -#}
{% materialization view, adapter='postgres' -%}
    {%- set target = this.incorporate(type='view') -%}
    {%- set candidate = target.incorporate(path={'identifier': target.identifier ~ '__candidate'}) -%}
    {%- set fingerprint = local_md5(sql ~ model.description ~ tojson(model.columns)) -%}
    {%- set state = relation_state(target) -%}
    {%- if state.get('kind') == 'v' and state.memory == fingerprint and not state.reads_retired_relation -%}
        {%- do report_unchanged() -%}
    {%- else -%}
        {{ run_hooks(pre_hooks, inside_transaction=False) }}
        {{ run_hooks(pre_hooks, inside_transaction=True) }}
        {%- call statement('main') -%} {{ drop_candidate_sql(candidate) }}; {{ get_create_view_as_sql(candidate, sql) }} {%- endcall -%}
        {%- do run_batch([
            copy_grants_sql(target, candidate),
            comments_sql(candidate, 'view'),
            'comment on rule "_RETURN" on ' ~ candidate ~ " is '" ~ fingerprint ~ "'",
            'select 1',
        ]) -%}
        {%- do apply_grants(candidate, config.get('grants'), should_revoke=false) -%}
        {%- do swap_or_fail(candidate, target) -%}
        {{ run_hooks(post_hooks, inside_transaction=True) }}
        {%- do adapter.commit() -%}
        {%- do drop_retired_relations() -%}
        {{ run_hooks(post_hooks, inside_transaction=False) }}
    {%- endif -%}
    {{ return({'relations': [target]}) }}
{%- endmaterialization %}


{% macro swap_or_fail(candidate, target, before=[]) %}
    {%- set seconds = config.get('give_up_after_seconds', default=600) -%}
    {%- if not try_to_swap(candidate, target, config.get('lock_timeout_ms', default=25), seconds, before) -%}
        {{ exceptions.raise_compiler_error(
            target ~ ' could not be replaced within ' ~ seconds ~ ' s, because a transaction keeps using it. The old one still serves; '
            ~ 'the next build tries again. pg_stat_activity shows who holds it.') }}
    {%- endif -%}
{% endmacro %}
