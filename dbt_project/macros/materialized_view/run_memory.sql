{#- What one run asks Postgres once, for all of its models: each question asked per model costs a round trip, and often a connection. -#}

{#- Kept beside dbt's graph, which all threads of a run share. -#}
{% macro run_memory() %}
    {{ return(graph.setdefault('memory of run ' ~ invocation_id, {})) }}
{% endmacro %}


{#-
  What stands in the place of `relation`: {exists: false}, or its kind, size, dead rows, and what its last build remembered.
  The first model of a run asks for all of the project's relations. Once this run retired a relation that a view reads, each asks for its
  own (unless what stood at the start will do). In a full refresh, too: dbt's own seeds and
  incremental models then drop by CASCADE what reads them.
-#}
{% macro relation_state(relation, at_start=false) %}
    {%- set memory = run_memory() -%}
    {%- set name = relation.schema ~ '.' ~ relation.identifier -%}
    {%- if (memory.get('is_retired_read') or flags.FULL_REFRESH) and not at_start -%} {{ return(ask_relation_states([relation]).get(name, {'exists': false})) }} {%- endif -%}
    {%- do look_at_relations(relation) -%}
    {{ return(memory['relations'].get(name, {'exists': false})) }}
{% endmacro %}


{#- A project may do it on-run-start, where a connection is open anyway. -#}
{% macro look_at_relations(also=none) %}
    {%- set memory = run_memory() -%}
    {%- if 'relations' in memory -%} {{ return('') }} {%- endif -%}
    {%- set all = [also] if also else [] -%}
    {%- for node in graph.nodes.values() if node.resource_type == 'model' -%}
        {%- do all.append({'schema': node.schema, 'identifier': node.alias or node.name}) -%}
    {%- endfor -%}
    {%- do memory.update({'relations': ask_relation_states(all)}) -%}
{% endmacro %}


{% macro ask_relation_states(relations) %}
    {%- set pairs = [] -%}
    {%- for one in relations -%} {%- do pairs.append("('" ~ one.schema ~ "', '" ~ one.identifier ~ "')") -%} {%- endfor -%}
    {%- set found = run_query(
        "select n.nspname || '.' || c.relname as name, c.relkind::text as kind, greatest(c.reltuples, 0)::bigint as row_count,
            c.relispopulated as is_populated, coalesce(pg_stat_get_dead_tuples(c.oid), 0) as dead_rows,
            case c.relkind
              when 'v' then obj_description(r.oid, 'pg_rewrite')
              when 'm' then (
                select obj_description(i.indexrelid, 'pg_class') from pg_index i
                where i.indrelid = c.oid and i.indisunique and obj_description(i.indexrelid, 'pg_class') like '{%' order by i.indexrelid limit 1)
            end as memory,
            exists (
              select from pg_depend d join pg_class p on d.refclassid = 'pg_class'::regclass and p.oid = d.refobjid
              where d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and p.relname like '%\\_\\_retired\\_%') as reads_retired_relation,
            c.relkind = 'm' and exists (
              select from pg_depend d join pg_rewrite other on d.classid = 'pg_rewrite'::regclass and other.oid = d.objid
              where d.refclassid = 'pg_class'::regclass and d.refobjid = c.oid and other.ev_class <> c.oid) as has_dependents
        from pg_class c
        join pg_namespace n on n.oid = c.relnamespace
        left join pg_rewrite r on r.ev_class = c.oid and r.rulename = '_RETURN' and c.relkind in ('v', 'm')
        where (n.nspname, c.relname) in (" ~ pairs | join(', ') ~ ") and c.relkind in ('r', 'v', 'm', 'p')") -%}
    {%- set states = {} -%}
    {%- for row in found.rows -%}
        {%- do states.update({row['name']: {
            'exists': true,
            'kind': row['kind'],
            'is_populated': row['is_populated'],
            'rows': row['row_count'] | int,
            'dead_rows': row['dead_rows'] | int,
            'memory': row['memory'],
            'reads_retired_relation': row['reads_retired_relation'],
            'has_dependents': row['has_dependents'],
        }}) -%}
    {%- endfor -%}
    {{ return(states) }}
{% endmacro %}


{#- One round trip for several statements; the rows of the last one. -#}
{% macro run_batch(statements, name='batch') %}
    {%- call statement(name, fetch_result=true) -%} {{ statements | select | join(';\n') }} {%- endcall -%}
    {{ return(load_result(name).table) }}
{% endmacro %}


{#- The result that dbt wants of every model, where there was nothing to do: without asking Postgres anything. -#}
{% macro report_unchanged() %}
    {%- do store_raw_result('main', message='unchanged', code='UNCHANGED', rows_affected=0) -%}
{% endmacro %}


{% macro mv_single_value(query) %}
    {%- set result = run_query(query) -%}
    {{ return(result.rows[0][0] if result.rows | length > 0 else none) }}
{% endmacro %}
