{#- Build aside, then rename in one short transaction: shared by the materialisations of this folder. Macros `…_sql` return SQL for a batch. -#}

{#-
  Puts `candidate` into the place of `target` (which may be absent, or of another kind): commits what was done so far, runs the
  statements of `before` in the transaction of the swap, and leaves that open. True when done; false when the lock was not to be had
  within `give_up_after_seconds`.

  Readers wait from the rename until the commit, so nothing in between may wait for the disk. Where `wal_level` is minimal, the commit of
  a new relation does: hence the commit before the swap (until then nobody reads the candidate; what an interrupted build leaves, the next
  one drops). The commit of a dropped relation does, too: hence the old one is only renamed, and dropped afterwards. The swap's own commit
  needn't: what a crash takes back of it is all of it, and the old relation serves on.

  The lock is asked for again and again, each time for `lock_timeout_ms` only: a waiting exclusive lock makes every later reader
  queue behind it, so it must never wait long. Nothing is held between two attempts, because each is a subtransaction.
  The old relation is called <name>__retired_<n> from then on. Where other views read it, it goes on serving them until nothing does.
-#}
{% macro try_to_swap(candidate, target, lock_timeout_ms, give_up_after_seconds, before=[]) %}
    {%- set swap -%}
do $swap$
declare
    give_up_at constant timestamptz := clock_timestamp() + make_interval(secs => {{ give_up_after_seconds }});
    pause double precision := 0.02;
    old_relation oid;
    old_kind text;
    new_kind text;
    retired constant text := '{{ target.identifier[:40] }}__retired_' || pg_current_xact_id()::text;
    index_name record;
begin
    perform set_config('candidate.swapped', 'false', true);
    select case relkind when 'm' then 'materialized view' when 'v' then 'view' else 'table' end into new_kind
    from pg_class where oid = '{{ candidate }}'::regclass;
    loop
        begin
            perform set_config('lock_timeout', '{{ lock_timeout_ms }}ms', true);
            old_relation := to_regclass('{{ target }}');
            if old_relation is not null then
                select case relkind when 'm' then 'materialized view' when 'v' then 'view' else 'table' end into old_kind
                from pg_class where oid = old_relation;
                execute format('alter %s {{ target }} rename to %I', old_kind, retired);
                -- Its indexes give their names free.
                for index_name in
                    select n.nspname, c.relname, c.oid from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
                    where i.indrelid = old_relation
                loop
                    execute format('alter index %I.%I rename to %I', index_name.nspname, index_name.relname,
                        left(index_name.relname, 40) || '__retired_' || index_name.oid);
                end loop;
            end if;
            execute format('alter %s {{ candidate }} rename to %I', new_kind, '{{ target.identifier }}');
            for index_name in
                select n.nspname, c.relname from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
                where i.indrelid = to_regclass('{{ target }}') and c.relname like '%\_\_candidate'
            loop
                execute format('alter index %I.%I rename to %I', index_name.nspname, index_name.relname, replace(index_name.relname, '__candidate', ''));
            end loop;
            perform set_config('candidate.swapped', 'true', true);
            exit;
        exception when lock_not_available or deadlock_detected then
            null;
        end;
        exit when clock_timestamp() > give_up_at;
        perform pg_sleep(pause * (0.5 + random()));
        pause := least(pause * 1.5, 1.0);
    end loop;
    perform set_config('lock_timeout', '0', true);
end $swap$
    {%- endset -%}
    {%- do adapter.commit() -%}
    {#- By name: after a commit that it didn't see as such, the driver begins no transaction by itself. -#}
    {%- set result = run_batch(['begin', 'set local synchronous_commit = off'] + before + [
        swap,
        "select current_setting('candidate.swapped', true) = 'true' as is_swapped,
            exists (select from pg_class where relname ~ '__retired_[0-9]+$' and relkind in ('r', 'v', 'm')) as has_retired,
            exists (
                select from pg_class c
                join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = c.oid and d.classid = 'pg_rewrite'::regclass
                join pg_rewrite r on r.oid = d.objid and r.ev_class <> c.oid
                where c.relname ~ '__retired_[0-9]+$' and c.relkind in ('r', 'v', 'm')) as is_retired_read",
    ], 'swap').rows[0] -%}
    {%- if result['has_retired'] -%} {%- do run_memory().update({'has_retired': true}) -%} {%- endif -%}
    {%- if result['is_retired_read'] -%} {%- do run_memory().update({'is_retired_read': true}) -%} {%- endif -%}
    {{ return(result['is_swapped']) }}
{% endmacro %}


{#- dbt's index dictionaries ({columns, unique, type}, and `include`) under names that the swap makes final. -#}
{% macro indexes_sql(candidate, indexes) %}
    {%- set base = candidate.identifier | replace('__candidate', '') -%}
    {%- set statements = [] -%}
    {%- for index in indexes -%}
        {%- set name = (base ~ '_by_' ~ (index.columns | join('_') | replace('"', '')))[:50] ~ '__candidate' -%}
        {%- do statements.append(
            'create ' ~ ('unique ' if index.unique else '') ~ 'index ' ~ adapter.quote(name) ~ ' on ' ~ candidate
            ~ (' using ' ~ index.type if index.type else '') ~ ' (' ~ index.columns | join(', ') ~ ')'
            ~ (' include (' ~ index.include | join(', ') ~ ')' if index.include else '')) -%}
    {%- endfor -%}
    {{ return(statements | join(';\n')) }}
{% endmacro %}


{#-
  Statistics of everything but documents, of which no query's plan depends and which take longest; from a third of the usual sample,
  because each build pays for it. Autovacuum looks more closely where rows stay.
-#}
{% macro analyze_sql(candidate) %}
    {%- set statement -%}
do $analyze$ begin
    set local default_statistics_target = {{ config.get('statistics_target', default=30) }};
    execute 'analyze {{ candidate }}' || coalesce((
        select ' (' || string_agg(quote_ident(attname), ', ') || ')' from pg_attribute
        where attrelid = '{{ candidate }}'::regclass and attnum > 0 and not attisdropped
          and atttypid not in ('json'::regtype, 'jsonb'::regtype, 'bytea'::regtype)), '');
end $analyze$
    {%- endset -%}
    {{ return(statement) }}
{% endmacro %}


{#-
  Settings of a rebuild, until the end of its transaction. Processes beside its own: by default as many as the server allows, one more
  than a reader's query; none where rows are mostly copied, because handing a row from one process to another costs more than the row.
  What is written goes to the disk as it is written, or the commit waits for all of it at once, and so does everybody who commits then.
  The log needn't be there with the commit: a crash takes back what came last, which is the swap.
-#}
{% macro rebuild_settings_sql() %}
    {%- set workers = config.get('parallel_workers') -%}
    {{ return("select set_config('max_parallel_workers_per_gather', "
        ~ ("current_setting('max_parallel_workers')" if workers is none else "'" ~ workers ~ "'") ~ ", true), set_config('backend_flush_after', '256kB', true), set_config('synchronous_commit', 'off', true)") }}
{% endmacro %}


{#- dbt's comments, on a candidate that no reader knows yet. -#}
{% macro comments_sql(relation, kind) %}
    {%- set statements = [] -%}
    {%- if config.persist_relation_docs() and model.description -%}
        {%- do statements.append('comment on ' ~ kind ~ ' ' ~ relation ~ " is '" ~ (model.description | replace("'", "''")) ~ "'") -%}
    {%- endif -%}
    {%- set described = [] -%}
    {%- for column in model.columns.values() if config.persist_column_docs() and column.description -%}
        {%- do described.append("('" ~ (column.name if column.quote else column.name | lower) ~ "', '" ~ (column.description | replace("'", "''")) ~ "')") -%}
    {%- endfor -%}
    {%- if described -%}
        {%- set comments -%}
do $comments$
declare
    described record;
begin
    for described in
        select attname, comment from (values {{ described | join(', ') }}) as v (name, comment)
        join pg_attribute on attrelid = '{{ relation }}'::regclass and attname = name and attnum > 0 and not attisdropped
    loop
        execute format('comment on column {{ relation }}.%I is %L', described.attname, described.comment);
    end loop;
end $comments$
        {%- endset -%}
        {%- do statements.append(comments) -%}
    {%- endif -%}
    {{ return(statements | join(';\n')) }}
{% endmacro %}


{#- Gives `candidate` every privilege that was granted on `target`. -#}
{% macro copy_grants_sql(target, candidate) %}
    {%- set statement -%}
do $grants$
declare
    privilege record;
begin
    for privilege in
        select a.privilege_type, a.is_grantable, coalesce(r.rolname, 'public') as grantee, r.oid is null as is_public
        from pg_class c cross join aclexplode(c.relacl) a left join pg_roles r on r.oid = a.grantee
        where c.oid = to_regclass('{{ target }}') and a.grantee <> c.relowner
    loop
        execute format('grant %s on {{ candidate }} to %s%s', privilege.privilege_type,
            case when privilege.is_public then 'public' else quote_ident(privilege.grantee) end,
            case when privilege.is_grantable then ' with grant option' else '' end);
    end loop;
end $grants$
    {%- endset -%}
    {{ return(statement) }}
{% endmacro %}


{#- Removes what an interrupted build may have left; nobody reads a candidate, so this never waits for a reader. -#}
{% macro drop_candidate_sql(candidate) %}
    {%- set statement -%}
do $drop$
declare
    kind text;
begin
    select case relkind when 'm' then 'materialized view' when 'v' then 'view' else 'table' end into kind
    from pg_class where oid = to_regclass('{{ candidate }}');
    if kind is not null then
        execute format('drop %s {{ candidate }}', kind);
    end if;
end $drop$
    {%- endset -%}
    {{ return(statement) }}
{% endmacro %}


{#- After a swap's commit: drops the retired relations that nothing reads any more; the others stay for a later build. Commits. -#}
{% macro drop_retired_relations() %}
    {%- if not run_memory().get('has_retired') -%} {{ return('') }} {%- endif -%}
    {%- call statement('drop_retired') -%}
begin;
do $retired$
declare
    relation record;
begin
    perform set_config('lock_timeout', '25ms', true);
    for relation in
        select n.nspname, c.relname, case c.relkind when 'm' then 'materialized view' when 'v' then 'view' else 'table' end as kind
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.relname ~ '__retired_[0-9]+$' and c.relkind in ('r', 'm', 'v') and pg_has_role(c.relowner, 'usage') order by c.oid desc
    loop
        begin
            execute format('drop %s if exists %I.%I', relation.kind, relation.nspname, relation.relname);
        exception when dependent_objects_still_exist or lock_not_available then
            null;
        end;
    end loop;
    perform set_config('lock_timeout', '0', true);
end $retired$
    {%- endcall -%}
    {%- do adapter.commit() -%}
{% endmacro %}
