{#- The working sets of a `packed_sets` column (intermediate.exercise_sessions says how they are packed), in order. -#}
{% macro unpacked_sets(packed) %}
    (
        select (number >> 25)::double precision / 100000000 as weight_kg, ((number >> 10) & 32767)::int as reps
        from
            generate_series(0, length({{ packed }}) - 8, 8) as place
            cross join
                lateral(
                    select ('x' || encode(substr({{ packed }}, place + 1, 8), 'hex'))::bit(64)::bigint as number
                ) as numbers
    )
{% endmacro %}
