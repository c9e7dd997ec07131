{#- For the capture of changes: whose usage events the last capture could not see. -#}
{% macro usage_changes() -%}
    select distinct user_key
    from {{ source("app", "usage_events") }}
    where {{ not_yet_seen("xid") }}
{%- endmacro %}


{#-
  source_version of a materialised view over user_activity_days: changes when that table or the day at as_of did; with `reads_more`, with
  every build. Where the table holds more than `analytics_rows_at_once` rows, changes count once an hour: aggregates over everybody's
  days cost what was ever done, and aren't worth that each minute.
-#}
{% macro analytics_version(reads_more=false) %}
    {{ return("
        select to_char(clock.as_of at time zone 'UTC', 'YYYY-MM-DD') || ' ' || case
            when (select c.reltuples from pg_class c where c.oid = to_regclass('marts.user_activity_days')) > " ~ var('analytics_rows_at_once') ~ "
            then to_char(clock.as_of at time zone 'UTC', 'HH24')
            else (" ~ ("select clock_timestamp()::text" if reads_more else version_of(["user_activity_days"])) ~ ")
        end
        from " ~ change_cursor() ~ " clock") }}
{% endmacro %}


{#- The UTC date at as_of. -#}
{% macro today_on() %}(select (as_of at time zone 'UTC')::date from {{ change_cursor() }}){% endmacro %}
