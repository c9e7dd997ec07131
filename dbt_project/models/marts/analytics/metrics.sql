{{ config(materialized="view") }}
select metric, position, label, description, unit, window_days, direction, target, baseline, evidence
from
    (
        values
            {%- for metric in metrics() %}
                (
                    {{ dbt.string_literal(metric.name) }},
                    {{ loop.index }},
                    {{ dbt.string_literal(metric.label | replace("'", "''")) }},
                    {{ dbt.string_literal(metric.description | replace("'", "''")) }},
                    {{ dbt.string_literal(metric.unit) }},
                    {{ metric.window_days }},
                    {{ dbt.string_literal(metric.direction) if metric.direction is defined else "null" }}::text,
                    {{ metric.target if metric.target is defined else "null" }}::double precision,
                    {{ metric.baseline if metric.baseline is defined else "null" }}::double precision,
                    {{ dbt.string_literal(metric.evidence | trim | replace("'", "''")) }}
                )
                {%- if not loop.last %}, {%- endif %}
            {%- else %} ('', 0, '', '', '', 0, null, null, null, '')
            {%- endfor %}
    ) as defined(metric, position, label, description, unit, window_days, direction, target, baseline, evidence)
