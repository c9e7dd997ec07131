{#- For the capture of changes: whose usage events the last capture could not see. -#}
{% macro usage_changes() -%}
    select distinct user_key
    from {{ source("app", "usage_events") }}
    where {{ not_yet_seen("xid") }}
{%- endmacro %}


{#-
  source_version of a materialised view over these maintained tables: changes when one of them did or the day at as_of did. Where they
  hold more than `analytics_rows_at_once` rows, changes count once an hour: aggregates over everything aren't worth a scan per minute.
-#}
{% macro analytics_version(models) %}
    {{ return("
        select to_char(clock.as_of at time zone 'UTC', 'YYYY-MM-DD') || ' ' || case
            when (select sum(c.reltuples) from pg_class c where c.oid in (to_regclass('marts." ~ models | join("'), to_regclass('marts.") ~ "'))) > " ~ var('analytics_rows_at_once', 5000000) ~ "
            then to_char(clock.as_of at time zone 'UTC', 'HH24')
            else (" ~ version_of(models) ~ ")
        end
        from " ~ change_cursor() ~ " clock") }}
{% endmacro %}


{#- The UTC date at as_of. -#}
{% macro today_on() %}(select (as_of at time zone 'UTC')::date from {{ change_cursor() }}){% endmacro %}
