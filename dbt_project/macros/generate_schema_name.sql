{#- A folder's schema is its schema: `marts`, not `<target>_marts`, because Postgres schema = dbt layer = Dagster group. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ custom_schema_name | trim if custom_schema_name else target.schema }}
{%- endmacro %}
