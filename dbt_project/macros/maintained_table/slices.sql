{#-
  Conditions that cut `column` of `relation` into ranges, for a `union all` with one branch per range. Postgres runs the branches on
  several cores, and so whole aggregates over ordered rows, which it can't split by itself without doing half of the work again in one
  process (window functions it never runs in a worker). A partial build has one slice: everything that it asks for.
-#}
{% macro slices(relation, column, count=8) %}
    {%- if not execute or flags.WHICH not in ("run", "build", "compile") or maintenance_plan().mode != "full" -%}
        {{ return(["true"]) }}
    {%- endif -%}
    {%- set ends = run_query("select min(" ~ column ~ "), max(" ~ column ~ ") from " ~ relation).rows[0] -%}
    {%- if ends[0] is none or ends[1] - ends[0] < 10000 -%} {{ return(["true"]) }} {%- endif -%}
    {%- set conditions = [] -%}
    {%- for number in range(count) -%}
        {%- set from = column ~ ' >= ' ~ (ends[0] + (ends[1] - ends[0]) * number // count) | int -%}
        {%- set to = column ~ ' < ' ~ (ends[0] + (ends[1] - ends[0]) * (number + 1) // count) | int -%}
        {#- The outer ones are open: rows may have been added since. -#}
        {%- do conditions.append(to if loop.first else from if loop.last else from ~ ' and ' ~ to) -%}
    {%- endfor -%}
    {{ return(conditions) }}
{% endmacro %}
