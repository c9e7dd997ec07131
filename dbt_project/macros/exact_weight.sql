{#- A weight that was derived from a rounded value is the session's top weight where they agree: 45 lb stay 45 lb. -#}
{% macro exact_weight(expression) -%}
    case when abs({{ expression }} - weight_kg) < 0.0000001 then weight_kg else ({{ expression }})::double precision end
{%- endmacro %}
