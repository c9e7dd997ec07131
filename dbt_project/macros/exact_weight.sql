{#- A weight computed back from a value that was rounded to 1e-8 kg: weights are whole 1e-8 kg, so rounding returns the one lifted. -#}
{% macro exact_weight(expression) -%} round(({{ expression }}) * 100000000) / 100000000 {%- endmacro %}
