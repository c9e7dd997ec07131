{#- Weeks since 1900-01-01, a Monday: later than any workout may be early, so that division rounds down for all of them. -#}
{% macro week_number(date) -%} (({{ date }} - date '1900-01-01') / 7) {%- endmacro %}


{% macro monday_of(week) -%}(date '1900-01-01' + 7 * ({{ week }})) {%- endmacro %}


{#- The Monday of a date's ISO week. -#}
{% macro week_of(date) -%} {{ monday_of(week_number(date)) }} {%- endmacro %}
