{#- Materialised views that refresh without readers noticing. README.md beside this file says how and why. -#}
{% materialization materialized_view, adapter='postgres' -%}
    {%- set target = this.incorporate(type='materialized_view') -%}
    {%- set settings = mv_settings() -%}
    {%- set fingerprint = local_md5(sql ~ '\n' ~ tojson(settings.indexes)) -%}
    {%- set docs_fingerprint = local_md5(model.description ~ tojson(model.columns)) -%}

    {%- set state = mv_state(target) -%}
    {%- set version = mv_single_value(settings.source_version) if settings.source_version else none -%}
    {%- set action = mv_choose_action(state, settings, fingerprint, version) -%}
    {%- set memory = {'definition': fingerprint, 'docs': docs_fingerprint, 'version': version, 'action': action.name} -%}
    {{ log(target ~ ': ' ~ action.name ~ ' (' ~ action.reason ~ ')') }}

    {%- if action.name == 'skip' -%}
        {%- if state.docs != docs_fingerprint -%}
            {%- do run_batch([comments_sql(target, 'materialized view'), mv_remember_sql(target, memory), 'select 1'], 'main') -%}
            {%- do adapter.commit() -%}
        {%- else -%}
            {%- do report_unchanged() -%}
        {%- endif -%}
        {{ return({'relations': [target]}) }}
    {%- endif -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {%- if action.name == 'refresh' -%}
        {%- do mv_refresh(target, settings, memory, state.docs != docs_fingerprint) -%}
    {%- else -%}
        {%- set candidate = mv_build_candidate(target, sql, settings, memory) -%}
        {%- set patience = settings.refresh_instead_after_seconds if action.can_refresh_instead else settings.give_up_after_seconds -%}
        {%- if not try_to_swap(candidate, target, settings.lock_timeout_ms, patience) -%}
            {%- do run_batch([drop_candidate_sql(candidate), 'select 1']) -%}
            {%- if action.can_refresh_instead -%}
                {#- Somebody's transaction holds the view. A concurrent refresh needs no exclusive lock. -#}
                {%- do mv_refresh(target, settings, memory, state.docs != docs_fingerprint) -%}
            {%- else -%}
                {%- do adapter.commit() -%}
                {{ exceptions.raise_compiler_error(
                    target ~ ' could not be replaced within ' ~ settings.give_up_after_seconds ~ ' s, because a transaction keeps reading it. '
                    ~ 'The old view still serves; the next build tries again. pg_stat_activity shows who holds it.') }}
            {%- endif -%}
        {%- endif -%}
    {%- endif -%}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {%- do adapter.commit() -%}
    {%- do drop_retired_relations() -%}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({'relations': [target]}) }}
{%- endmaterialization %}


{#- Everything that can be configured, with its default. -#}
{% macro mv_settings() %}
    {%- set indexes = config.get('indexes', default=[]) -%}
    {%- if indexes | selectattr('unique', 'defined') | selectattr('unique') | list | length == 0 -%}
        {{ exceptions.raise_compiler_error(
            'The materialised view ' ~ this ~ ' needs a unique index to refresh concurrently: indexes=[{"columns": [...], "unique": true}].') }}
    {%- endif -%}
    {{ return({
        'indexes': indexes,
        'refresh': config.get('refresh', default='auto'),
        'audits': config.get('audits', default=[]),
        'source_version': config.get('source_version'),
        'concurrently_up_to_rows': config.get('concurrently_up_to_rows', default=20000),
        'concurrently_up_to_bloat': config.get('concurrently_up_to_bloat', default=1.0),
        'lock_timeout_ms': config.get('lock_timeout_ms', default=25),
        'refresh_instead_after_seconds': config.get('refresh_instead_after_seconds', default=5),
        'give_up_after_seconds': config.get('give_up_after_seconds', default=600),
    }) }}
{% endmacro %}


{#- `relation_state`, with what the last build remembered in the comment of the first unique index. -#}
{% macro mv_state(target) %}
    {%- set found = relation_state(target) -%}
    {%- set memory = fromjson(found.memory, default={}) if found.get('memory') and found.kind == 'm' else {} -%}
    {{ return(dict(found, is_materialized_view=found.get('kind') == 'm', definition=memory.get('definition'), docs=memory.get('docs'), version=memory.get('version'))) }}
{% endmacro %}


{#- create | swap | refresh | skip, and the reason in words. -#}
{% macro mv_choose_action(state, settings, fingerprint, version) %}
    {%- set can_refresh = state.exists and state.is_materialized_view and state.is_populated
        and state.definition == fingerprint and not state.reads_retired_relation -%}
    {%- if not state.exists -%} {{ return({'name': 'create', 'reason': 'it does not exist'}) }} {%- endif -%}
    {%- if not state.is_materialized_view -%} {{ return({'name': 'swap', 'reason': 'it was no materialised view', 'can_refresh_instead': false}) }} {%- endif -%}
    {%- if state.definition != fingerprint -%} {{ return({'name': 'swap', 'reason': 'its definition changed', 'can_refresh_instead': false}) }} {%- endif -%}
    {%- if not can_refresh -%} {{ return({'name': 'swap', 'reason': 'a parent was rebuilt', 'can_refresh_instead': false}) }} {%- endif -%}
    {%- if should_full_refresh() -%} {{ return({'name': 'swap', 'reason': 'full refresh', 'can_refresh_instead': true}) }} {%- endif -%}
    {%- if version is not none and version == state.version -%} {{ return({'name': 'skip', 'reason': 'its sources did not change'}) }} {%- endif -%}
    {%- if settings.refresh == 'concurrently' -%} {{ return({'name': 'refresh', 'reason': 'configured'}) }} {%- endif -%}
    {%- if settings.refresh == 'swap' -%} {{ return({'name': 'swap', 'reason': 'configured', 'can_refresh_instead': true}) }} {%- endif -%}
    {%- if state.has_dependents -%} {{ return({'name': 'refresh', 'reason': 'other views read it'}) }} {%- endif -%}
    {%- if state.dead_rows > state.rows * settings.concurrently_up_to_bloat and state.dead_rows > 1000 -%}
        {{ return({'name': 'swap', 'reason': 'too many dead rows', 'can_refresh_instead': true}) }}
    {%- endif -%}
    {%- if state.rows > settings.concurrently_up_to_rows -%}
        {{ return({'name': 'swap', 'reason': 'large: building it aside costs less than comparing every row', 'can_refresh_instead': true}) }}
    {%- endif -%}
    {{ return({'name': 'refresh', 'reason': 'small'}) }}
{% endmacro %}


{#- Rows, indexes, statistics, audits, comments, grants: two round trips. -#}
{% macro mv_build_candidate(target, sql, settings, memory) %}
    {%- set candidate = target.incorporate(path={'identifier': target.identifier ~ '__candidate'}) -%}
    {%- call statement('main') -%}
{{ drop_candidate_sql(candidate) }};
{{ rebuild_settings_sql() }};
create materialized view {{ candidate }} as {{ sql }}
    {%- endcall -%}
    {%- do mv_audit(candidate, settings.audits, [
        mv_contract_sql(candidate, model),
        indexes_sql(candidate, settings.indexes),
        analyze_sql(candidate),
        mv_spare_autovacuum_sql(candidate, settings),
        comments_sql(candidate, 'materialized view'),
        copy_grants_sql(target, candidate),
        mv_remember_sql(candidate, memory),
    ]) -%}
    {%- do apply_grants(candidate, config.get('grants'), should_revoke=false) -%}
    {{ return(candidate) }}
{% endmacro %}


{% macro mv_refresh(target, settings, memory, describe) %}
    {%- call statement('main') -%} refresh materialized view concurrently {{ target }} {%- endcall -%}
    {%- do mv_audit(target, settings.audits, [comments_sql(target, 'materialized view') if describe, mv_remember_sql(target, memory)]) -%}
{% endmacro %}


{#-
  A view that is always built aside has no dead rows to vacuum, and autovacuum's lock, which it gives up for nobody that waits less
  than a second, would keep the next swap waiting.
-#}
{% macro mv_spare_autovacuum_sql(candidate, settings) %}
    {%- set statement -%}
do $autovacuum$ begin
    if (select reltuples from pg_class where oid = '{{ candidate }}'::regclass) > {{ settings.concurrently_up_to_rows }} then
        alter materialized view {{ candidate }} set (autovacuum_enabled = false);
    end if;
end $autovacuum$
    {%- endset -%}
    {{ return(statement) }}
{% endmacro %}


{#- Keeps the state beside the view itself, in the comment of its first unique index: it is swapped, dumped and dropped with it. -#}
{% macro mv_remember_sql(relation, memory) %}
    {%- set statement -%}
do $remember$ begin
    execute (
        select format('comment on index %I.%I is %L', n.nspname, c.relname, '{{ tojson(memory) | replace("'", "''") }}')
        from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
        where i.indrelid = '{{ relation }}'::regclass and i.indisunique order by i.indexrelid limit 1);
end $remember$
    {%- endset -%}
    {{ return(statement) }}
{% endmacro %}


{#- Columns, their order and their types must be what the contract says; Postgres itself takes no constraint on a materialised view. -#}
{% macro mv_contract_sql(relation, model) %}
    {%- if not model.config.contract or not model.config.contract.enforced -%} {{ return('') }} {%- endif -%}
    {%- set expected = [] -%}
    {%- for column in model.columns.values() -%}
        {%- do expected.append("(" ~ loop.index ~ ", '" ~ column.name ~ "', '" ~ column.data_type ~ "')") -%}
    {%- endfor -%}
    {%- set statement -%}
do $contract$
declare
    differences text;
begin
    with expected (position, name, type) as (values {{ expected | join(', ') }}),
    actual as (
        select row_number() over (order by attnum) as position, attname::text as name, atttypid as type from pg_attribute
        where attrelid = '{{ relation }}'::regclass and attnum > 0 and not attisdropped)
    select string_agg(format('%s: contract %s, model %s', coalesce(e.name, a.name),
        coalesce(e.type || ' at ' || e.position, 'does not have it'),
        coalesce(format_type(a.type, null) || ' at ' || a.position, 'does not have it')), '; ' order by coalesce(e.name, a.name))
    into differences
    from expected e full join actual a on a.name = e.name
    where e.name is null or a.name is null or a.position <> e.position or to_regtype(e.type) is distinct from a.type::regtype;
    if differences is not null then
        raise exception '% breaks its contract; what was served before still is. %', '{{ relation }}', differences;
    end if;
end $contract$
    {%- endset -%}
    {{ return(statement) }}
{% endmacro %}


{#- Each audit is a query that names wrong rows of {relation}. Any row stops the build before readers could see it. `before` runs first. -#}
{% macro mv_audit(relation, audits, before=[]) %}
    {%- set queries = [] -%}
    {%- for audit in audits -%}
        {%- do queries.append("select '" ~ (audit.name | replace("'", "''")) ~ "' as audit, string_agg(wrong::text, ' | ') as rows from (select * from ("
            ~ (audit.sql | replace('{relation}', relation | string)) ~ ') found limit 3) wrong having count(*) > 0') -%}
    {%- endfor -%}
    {%- set wrong = run_batch(before + [queries | join(' union all ') if queries else 'select 1 where false']) -%}
    {%- if wrong.rows | length > 0 -%}
        {{ exceptions.raise_compiler_error('Audit "' ~ wrong.rows[0]['audit'] ~ '" of ' ~ relation ~ ' failed; what was served before still is. First rows: ' ~ wrong.rows[0]['rows']) }}
    {%- endif -%}
{% endmacro %}
