{#- Weeks since 1900-01-01, a Monday: later than any workout may be early, so that division rounds down for all of them. -#}
{% macro week_number(date) -%} (({{ date }} - date '1900-01-01') / 7) {%- endmacro %}


{#- The Monday of a date's ISO week. -#}
{% macro week_of(date) -%}(date '1900-01-01' + 7 * {{ week_number(date) }}) {%- endmacro %}
