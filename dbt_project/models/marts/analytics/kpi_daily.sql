{{
    config(
        materialized="materialized_view",
        indexes=[{"columns": ["day_on", "metric"], "unique": true}],
        source_version=analytics_version(reads_more=true),
        audits=[
            {
                "name": "a share lies between 0 and 1",
                "sql": "select day_on, metric from {relation} where metric in ('dashboard_use', 'records_use', 'onboarding_completion', 'error_share') and value not between 0 and 1",
            },
        ],
    )
}}
-- depends_on: {{ ref("user_activity_days") }}, {{ ref("api_latency_daily") }}, {{ ref("plan_requests_daily") }}, {{ ref("onboarding_journeys") }}
with
    days as materialized(select {{ today_on() }} - back.days as day_on from generate_series(0, 399) as back(days)),
    {{ users_of_metrics(metrics()) }}

    rows_of_metrics as (
        {%- for metric in metrics() %}
            {{ metric_rows(metric) }}
            {%- if not loop.last %}
                union all
            {%- endif %}
        {%- else %}
            select
                day_on,
                '' as metric,
                null::double precision as value,
                0::double precision as numerator,
                0::double precision as denominator
            from days
        {%- endfor %}
    )

select day_on, metric, value, numerator, denominator
from rows_of_metrics
