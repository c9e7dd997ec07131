{#- ISO 8601 in UTC with Z, whatever the session's time zone; fractions only where there are any. -#}
{% macro json_instant(column) -%}
    replace(({{ column }} at time zone 'UTC')::text, ' ', 'T') || 'Z'
{%- endmacro %}


{#- A row as compact JSON text without its first column, which is a number: cheaper than building the object name by name. -#}
{% macro json_object_without(row, first_column) -%}
    '{' || substr(row_to_json({{ row }})::text, length('{"{{ first_column }}":' || {{ row }}.{{ first_column }} || ',') + 1)
{%- endmacro %}
