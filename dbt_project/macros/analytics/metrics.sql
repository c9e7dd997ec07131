{#- What models/marts/analytics/_metrics.yml defines (`metrics`, `next_days`): computed from there, never repeated. -#}
{% macro metrics_meta(name) %}{{ return(graph.nodes['model.' ~ project_name ~ '.kpi_daily'].config.meta[name] if execute else []) }}{% endmacro %}
{% macro metrics() %}{{ return(metrics_meta('metrics')) }}{% endmacro %}


{#- Rows (day_on, metric, value, numerator, denominator) of one metric for each day of the CTE `days`. -#}
{% macro metric_rows(metric) %}
    {%- if metric.kind in ('users', 'share_of_users') %}
    select
        counted.day_on,
        '{{ metric.name }}' as metric,
        {% if metric.kind == 'users' %} counted.users::double precision {% else %} counted.users / nullif(base.users, 0)::double precision {% endif %} as value,
        counted.users::double precision as numerator,
        {% if metric.kind == 'users' %} counted.users::double precision {% else %} base.users::double precision {% endif %} as denominator
    from {{ users_name(metric.numerator, metric.window_days) }} as counted
    {%- if metric.kind == 'share_of_users' %}
    join {{ users_name(metric.denominator, metric.window_days) }} as base on base.day_on = counted.day_on
    {%- endif %}
    {%- elif metric.kind == 'ratio' %}
    select
        days.day_on,
        '{{ metric.name }}' as metric,
        sum(parts.numerator) / nullif(sum(parts.denominator), 0)::double precision as value,
        coalesce(sum(parts.numerator), 0)::double precision as numerator,
        coalesce(sum(parts.denominator), 0)::double precision as denominator
    from days
    left join (
        {%- for part in metric.parts %}
        select {{ part.day }} as day_on, {{ part.numerator }} as numerator, {{ part.denominator }} as denominator
        from {{ ref(part.mart) }}
        where {{ part.where }}
        group by 1
        {%- if not loop.last %}
        union all
        {%- endif %}
        {%- endfor %}
    ) as parts on parts.day_on between days.day_on - {{ metric.window_days - 1 }} and days.day_on
    group by days.day_on
    {%- elif metric.kind == 'latency' %}
    select
        day_on,
        '{{ metric.name }}' as metric,
        marts.histogram_quantile(buckets, {{ metric.quantile }}) as value,
        coalesce((
            select sum(bucket.requests)
            from unnest(buckets) with ordinality as bucket (requests, number)
            where (marts.latency_bounds_ms())[bucket.number] <= {{ metric.target if metric.target is defined else "'Infinity'" }}
        ), 0)::double precision as numerator,
        coalesce((select sum(requests) from unnest(buckets) as requests), 0)::double precision as denominator
    from (
        select days.day_on, marts.sum_buckets(daily.buckets) as buckets
        from days
        left join {{ ref(metric.mart) }} as daily
            on daily.day_on between days.day_on - {{ metric.window_days - 1 }} and days.day_on
            {%- if metric.where is defined %} and {{ metric.where }} {%- endif %}
        group by days.day_on
    ) as windows
    {%- else -%}
        {{ exceptions.raise_compiler_error('Metric ' ~ metric.name ~ ': kind ' ~ metric.kind ~ ' is unknown; _metrics.yml lists the kinds.') }}
    {%- endif %}
{% endmacro %}


{#- CTEs of the users that the metrics count, each condition and window once, however many metrics share it. -#}
{% macro users_of_metrics(metrics) %}
    {%- set counted = {} -%}
    {%- for metric in metrics if metric.kind in ('users', 'share_of_users') -%}
        {%- for condition in [metric.numerator, metric.denominator] if condition -%}
            {%- do counted.update({users_name(condition, metric.window_days): users_in_window(condition, metric.window_days)}) -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- for name, counting in counted.items() %}
    {{ name }} as materialized ({{ counting }}),
    {%- endfor %}
{% endmacro %}


{% macro users_name(condition, window) %}{{ return("users_" ~ local_md5(condition ~ " " ~ window)[:8]) }}{% endmacro %}


{#-
  Distinct users with a day in each window, in one pass: a user's day opens a stretch that ends `window` days later or where the next
  one begins, and the number on a day is what was opened minus what was closed before it. Stretches are many, their bounds few.
-#}
{% macro users_in_window(condition, window) %}
        {%- set next_days = metrics_meta('next_days') -%}
        {%- if condition not in next_days -%}
            {{ exceptions.raise_compiler_error('No column has the next day with ' ~ condition ~ ': user_activity_days needs one, and next_days in _metrics.yml names it.') }}
        {%- endif -%}
        {%- set next_day = next_days[condition] -%}
        select days.day_on, coalesce(sum(sum(steps.change)) over (order by days.day_on), 0)::bigint as users
        from days
        left join (
            select greatest(step.day_on, bounds.first_on) as day_on, sum(step.change) as change
            from (
                select local_date, least(coalesce({{ next_day }}, 'infinity'::date), local_date + {{ window }}) as ends_on, count(*) as users
                from {{ ref("user_activity_days") }}
                where ({{ condition }}) and local_date <= {{ today_on() }} and local_date > {{ today_on() }} - 400 - {{ window }}
                group by 1, 2
            ) as stretches
            cross join lateral (values (local_date, users), (ends_on, -users)) as step (day_on, change)
            cross join (select min(day_on) as first_on from days) as bounds
            group by 1
        ) as steps on steps.day_on = days.day_on
        group by days.day_on
{%- endmacro %}
