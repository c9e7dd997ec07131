{#- Materialised views that refresh without readers noticing. README.md beside this file says how and why. -#}
{% materialization materialized_view, adapter='postgres' -%}
    {%- set target = this.incorporate(type='materialized_view') -%}
    {%- set settings = mv_settings() -%}
    {%- set fingerprint = local_md5(sql ~ '\n' ~ tojson(settings.indexes)) -%}
    {%- set docs_fingerprint = local_md5(model.description ~ tojson(model.columns)) -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {%- set state = mv_state(target) -%}
    {%- set version = mv_single_value(settings.source_version) if settings.source_version else none -%}
    {%- set action = mv_choose_action(state, settings, fingerprint, version) -%}
    {{ log(target ~ ': ' ~ action.name ~ ' (' ~ action.reason ~ ')') }}

    {%- if action.name == 'skip' -%}
        {%- call statement('main') -%} select 1 as unchanged {%- endcall -%}
    {%- elif action.name == 'refresh' -%}
        {%- call statement('main') -%} refresh materialized view concurrently {{ target }} {%- endcall -%}
        {%- do mv_audit(target, settings.audits) -%}
    {%- else -%}
        {%- set candidate = mv_build_candidate(target, sql, settings) -%}
        {%- do mv_check_contract(candidate, model) -%}
        {%- do mv_audit(candidate, settings.audits) -%}
        {%- do mv_describe(candidate, model) -%}
        {%- do copy_grants(target, candidate) -%}
        {%- do apply_grants(candidate, config.get('grants'), should_revoke=false) -%}
        {%- do write_candidate_to_disk() -%}
        {%- if action.name == 'swap' and action.can_refresh_instead -%}
            {%- set swapped = try_to_swap(candidate, target, settings.lock_timeout_ms, settings.refresh_instead_after_seconds) -%}
            {%- if not swapped -%}
                {#- Somebody's transaction holds the view. A concurrent refresh needs no exclusive lock. -#}
                {%- do drop_candidate(candidate) -%}
                {%- call statement('refresh_instead') -%} refresh materialized view concurrently {{ target }} {%- endcall -%}
            {%- endif -%}
        {%- elif not try_to_swap(candidate, target, settings.lock_timeout_ms, settings.give_up_after_seconds) -%}
            {%- do drop_candidate(candidate) -%}
            {%- do adapter.commit() -%}
            {{ exceptions.raise_compiler_error(
                target ~ ' could not be replaced within ' ~ settings.give_up_after_seconds ~ ' s, because a transaction keeps reading it. '
                ~ 'The old view still serves; the next build tries again. pg_stat_activity shows who holds it.') }}
        {%- endif -%}
    {%- endif -%}

    {%- if action.name != 'skip' -%}
        {%- do mv_remember(target, {'definition': fingerprint, 'docs': docs_fingerprint, 'version': version, 'action': action.name}) -%}
    {%- endif -%}
    {%- if action.name in ('skip', 'refresh') and state.docs != docs_fingerprint -%}
        {%- do mv_describe(target, model) -%}
        {%- do mv_remember(target, {'definition': fingerprint, 'docs': docs_fingerprint, 'version': version if action.name == 'refresh' else state.version, 'action': action.name}) -%}
    {%- endif -%}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {%- do adapter.commit() -%}
    {%- if action.name not in ('skip', 'refresh') -%} {%- do drop_retired_relations() -%} {%- endif -%}
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


{#- What stands now: kind, size, dead rows, and what the last build remembered in the comment of the first unique index. -#}
{% macro mv_state(target) %}
    {%- set found = run_query(
        "select c.relkind::text as kind, greatest(c.reltuples, 0)::bigint as row_count, c.relispopulated as is_populated,
            coalesce(s.n_dead_tup, 0) as dead_rows,
            (select obj_description(i.indexrelid, 'pg_class') from pg_index i
              where i.indrelid = c.oid and i.indisunique and obj_description(i.indexrelid, 'pg_class') like '{%' order by i.indexrelid limit 1) as memory,
            exists (
              select from pg_rewrite r join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
              join pg_class p on d.refclassid = 'pg_class'::regclass and p.oid = d.refobjid
              where r.ev_class = c.oid and p.relname like '%\\_\\_retired\\_%') as reads_retired_relation,
            exists (
              select from pg_depend d join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
              where d.refclassid = 'pg_class'::regclass and d.refobjid = c.oid and r.ev_class <> c.oid) as has_dependents
        from pg_class c join pg_namespace n on n.oid = c.relnamespace left join pg_stat_all_tables s on s.relid = c.oid
        where n.nspname = '" ~ target.schema ~ "' and c.relname = '" ~ target.identifier ~ "' and c.relkind in ('r', 'v', 'm', 'p')") -%}
    {%- if found.rows | length == 0 -%} {{ return({'exists': false}) }} {%- endif -%}
    {%- set row = found.rows[0] -%}
    {%- set memory = fromjson(row['memory'], default={}) if row['memory'] else {} -%}
    {{ return({
        'exists': true,
        'is_materialized_view': row['kind'] == 'm',
        'is_populated': row['is_populated'],
        'rows': row['row_count'] | int,
        'dead_rows': row['dead_rows'] | int,
        'reads_retired_relation': row['reads_retired_relation'],
        'has_dependents': row['has_dependents'],
        'definition': memory.get('definition'),
        'docs': memory.get('docs'),
        'version': memory.get('version'),
    }) }}
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


{% macro mv_build_candidate(target, sql, settings) %}
    {%- set candidate = target.incorporate(path={'identifier': target.identifier ~ '__candidate'}) -%}
    {%- do drop_candidate(candidate) -%}
    {%- do use_all_cores() -%}
    {%- call statement('main') -%} create materialized view {{ candidate }} as {{ sql }} {%- endcall -%}
    {%- do build_indexes(candidate, settings.indexes) -%}
    {%- do analyze_candidate(candidate) -%}
    {{ return(candidate) }}
{% endmacro %}


{#- Keeps the state beside the view itself, in the comment of its first unique index: it is swapped, dumped and dropped with it. -#}
{% macro mv_remember(target, memory) %}
    {%- set index = mv_single_value(
        "select format('%I.%I', n.nspname, c.relname) from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
         where i.indrelid = '" ~ target ~ "'::regclass and i.indisunique order by i.indexrelid limit 1") -%}
    {%- do run_query('comment on index ' ~ index ~ " is '" ~ (tojson(memory) | replace("'", "''")) ~ "'") -%}
{% endmacro %}


{#- dbt's own comments, on a candidate that no reader knows yet. -#}
{% macro mv_describe(relation, model) %}
    {%- set statements = ['comment on materialized view ' ~ relation ~ " is '" ~ (model.description | replace("'", "''")) ~ "'"] -%}
    {%- for column in model.columns.values() if column.description -%}
        {%- do statements.append('comment on column ' ~ relation ~ '.' ~ adapter.quote(column.name) ~ " is '" ~ (column.description | replace("'", "''")) ~ "'") -%}
    {%- endfor -%}
    {%- do run_query(statements | join(';\n')) -%}
{% endmacro %}


{#- Columns, their order and their types must be what the contract says; Postgres itself takes no constraint on a materialised view. -#}
{% macro mv_check_contract(relation, model) %}
    {%- if not model.config.contract or not model.config.contract.enforced -%} {{ return(none) }} {%- endif -%}
    {%- set expected = [] -%}
    {%- for column in model.columns.values() -%}
        {%- do expected.append("(" ~ loop.index ~ ", '" ~ column.name ~ "', '" ~ column.data_type ~ "')") -%}
    {%- endfor -%}
    {%- set differences = run_query(
        "with expected (position, name, type) as (values " ~ expected | join(', ') ~ "),
         actual as (
            select row_number() over (order by attnum) as position, attname::text as name, atttypid as type from pg_attribute
            where attrelid = '" ~ relation ~ "'::regclass and attnum > 0 and not attisdropped)
         select format('%s: contract %s, model %s', coalesce(e.name, a.name),
            coalesce(e.type || ' at ' || e.position, 'does not have it'), coalesce(format_type(a.type, null) || ' at ' || a.position, 'does not have it'))
         from expected e full join actual a on a.name = e.name
         where e.name is null or a.name is null or a.position <> e.position or to_regtype(e.type) is distinct from a.type::regtype order by 1") -%}
    {%- if differences.rows | length > 0 -%}
        {{ exceptions.raise_compiler_error(relation ~ ' breaks its contract; what was served before still is. ' ~ (differences.columns[0].values() | join('; '))) }}
    {%- endif -%}
{% endmacro %}


{#- Each audit is a query that names wrong rows of {relation}. Any row stops the build before readers could see it. -#}
{% macro mv_audit(relation, audits) %}
    {%- for audit in audits -%}
        {%- set wrong = run_query('select * from (' ~ (audit.sql | replace('{relation}', relation | string)) ~ ') wrong limit 3') -%}
        {%- if wrong.rows | length > 0 -%}
            {%- set rows = [] -%}
            {%- for row in wrong.rows -%} {%- do rows.append(row.values() | join(', ')) -%} {%- endfor -%}
            {{ exceptions.raise_compiler_error('Audit "' ~ audit.name ~ '" of ' ~ relation ~ ' failed; what was served before still is. First rows: ' ~ (rows | join(' | '))) }}
        {%- endif -%}
    {%- endfor -%}
{% endmacro %}


{% macro mv_single_value(query) %}
    {%- set result = run_query(query) -%}
    {{ return(result.rows[0][0] if result.rows | length > 0 else none) }}
{% endmacro %}
