{#- Post-hook of what lies in marts for the API alone: it may hold what users wrote (names of their own exercises). -#}
{% macro keep_from_analysts() -%}
do $keep$
begin
    if has_table_privilege('mesocycle_analyst', '{{ this }}', 'select') then
        revoke all on {{ this }} from mesocycle_analyst;
    end if;
end $keep$
{%- endmacro %}
