{#-
  A funnel over any relation or subquery with `user_id, step, occurred_at`.

      dbt show --inline "{{ '{{' }} funnel(ref('onboarding_events'), ['welcome', 'goal', 'plan_preview']) {{ '}}' }}"

  events            a relation (`ref`, `source`), its name, or a subquery.
  steps             names, in order. A name may come more than once: each of its events fills one step.
  order             ordered    other events may lie between two steps.
                    strict     none may: neither a foreign event nor a repeated step lies (in time) between two steps' events.
                    unordered  position k counts who took any k of the steps.
  entry             first      a user's first event of the first step (unordered: of any step) opens the window, once.
                    any        each such event opens one; the user counts by the deepest: of equally deep ones, by the one that got
                               there first, of those by the newest entry.
  window_seconds    elapsed seconds from entry, the bound included. Daylight saving doesn't touch it.
  exclusions        [{event, from_step, to_step}], steps as 0-based positions or names. An entry is excluded if the event lies strictly
                    between the two steps' events, or, where the later step isn't reached, anywhere after the earlier one in the window.
                    Ordered and strict: a user without another entry counts nowhere, not even at step 1. Unordered (only
                    from the first step): the user still counts at position 1.
  optional_steps    names of steps that never block. One is reached from the required step before it to the required step after it;
                    in a strict funnel its events break nothing.
  segment           an expression over the relation's columns; its value at entry holds for all steps, '(none)' where it's missing.
  entered_from, entered_to   expressions; limit when a user entered, both included, and nothing else. With entry='first'
                    the first entry of all history decides, so somebody who entered earlier doesn't enter again.

  Yields `[segment,] position, step, users, average_seconds, median_seconds`, a row per step (and segment), positions from 1.
  Seconds run from the event of the required step before (unordered: from the event before) to the step's event.
  Equal timestamps count as in order.

  How: one row per user and instant, then backwards from the last step a running minimum per step gives each instant the chain that
  starts there. One sort, one pass per step, no self-join: repeated events cost nothing extra.
-#}
{% macro funnel(
    events,
    steps,
    order="ordered",
    entry="first",
    window_seconds=1209600,
    exclusions=[],
    optional_steps=[],
    segment=none,
    entered_from=none,
    entered_to=none
) -%}
    {%- set settings = {} -%}
    {%- do funnel__settings(settings, steps, order, entry, window_seconds, exclusions, optional_steps) -%}
    {%- set required = settings.required -%}
    {%- set names = settings.names -%}
    {%- set stride = 1 + settings.exclusions | length -%}
    with
        funnel_events as (
            select
                user_id,
                step::text as step,
                occurred_at,
                {% if segment is none %} null::text
                {% else %} ({{ segment }})::text
                {% endif %} as segment
            from {{ funnel__relation(events) }} as funnel_source
            where
                user_id is not null and occurred_at is not null
                {%- if order != "strict" %}
                    and step in ({{ funnel__literals(names + settings.optional_names + settings.exclusion_names) }})
                {%- endif %}
        ),
        funnel_moments as (
            select
                user_id,
                occurred_at
                {%- for name in names %}
                    , count(*) filter (where step = {{ funnel__literal(name) }}) as n{{ loop.index }}
                {%- endfor %}
                {%- for exclusion in settings.exclusions %}
                    , bool_or(step = {{ funnel__literal(exclusion.event) }}) as is_x{{ loop.index }}
                {%- endfor %},
                coalesce(
                    min(segment) filter (
                        where step in ({{ funnel__literals(names if order == "unordered" else [required[0]]) }})
                    ),
                    '(none)'
                ) as segment
            from funnel_events
            {%- if settings.optional_names %}
                where step is null or step not in ({{ funnel__literals(settings.optional_names) }})
            {%- endif %}
            group by user_id, occurred_at
        ),
        {%- if settings.exclusions %}
            funnel_excluding as (
                select
                    *
                    {%- for exclusion in settings.exclusions %}
                        , min(occurred_at) filter (where is_x{{ loop.index }}) over later as x{{ loop.index }}
                    {%- endfor %}
                from funnel_moments
                window
                    later as (
                        partition by user_id order by occurred_at desc rows between unbounded preceding and 1 preceding
                    )
            ),
        {%- endif %}
        {%- set start = "funnel_excluding" if settings.exclusions else "funnel_moments" %}
        {%- if order == "unordered" %}
            {%- set chain = namespace(source=start) %}
            {%- for name in names %}
                {%- set repeats = required | select("equalto", name) | list %}
                {{ funnel__chains(chain.source, repeats, names, "c" ~ loop.index ~ "_", 0, false) }}
                {%- set chain.source = "funnel_c" ~ loop.index ~ "_1" %}
            {%- endfor %}
            funnel_next as (
                select
                    *
                    {%- for name in names %}
                        , min(c{{ loop.index }}_1) over following as next_{{ loop.index }}
                    {%- endfor %}
                from {{ chain.source }}
                window
                    following as (
                        partition by user_id order by occurred_at desc rows between unbounded preceding and current row
                    )
            ),
            funnel_opened as (
                select
                    user_id,
                    occurred_at as entered_at,
                    segment,
                    occurred_at + make_interval(secs => {{ window_seconds }}) as closes_at
                    {%- for exclusion in settings.exclusions %}, x{{ loop.index }}{% endfor %},
                    {% for name in names %}
                        {{ ' || ' if not loop.first }}coalesce(next_{{ loop.index }}, '{}')
                    {% endfor %} as taken
                from funnel_next
                where {% for name in names %} {{ ' or ' if not loop.first }}n{{ loop.index }} > 0{% endfor %}
            ),
            funnel_sorted as (
                select funnel_opened.*, array(select t from unnest(taken) as t where t <= closes_at order by t) as chain
                from funnel_opened
            ),
            funnel_timed as (
                select
                    user_id,
                    entered_at,
                    closes_at,
                    segment,
                    false as is_excluded
                    {%- for step in required %}
                        ,
                        {%- set position = loop.index %}
                        {%- if position == 1 or not settings.exclusions %} chain[{{ position }}] as t{{ position }}
                        {%- else %}
                            case
                                when
                                    not (
                                        {%- for exclusion in settings.exclusions %}
                                            {{ 'or ' if not loop.first }}coalesce(
                                                x{{ loop.index }} < chain[{{ exclusion.to_index + 1 }}],
                                                x{{ loop.index }} <= closes_at,
                                                false
                                            )
                                        {%- endfor %}
                                    )
                                then chain[{{ position }}]
                            end as t{{ position }}
                        {%- endif %}
                    {%- endfor %}
                from funnel_sorted
            ),
        {%- else %}
            {{ funnel__chains(start, required, names, "c", settings.exclusions | length, order == "strict") }}
            funnel_opened as (
                select
                    user_id,
                    occurred_at as entered_at,
                    occurred_at + make_interval(secs => {{ window_seconds }}) as closes_at,
                    segment,
                    c1 as chain
                from funnel_c1
                where c1 is not null
            ),
            funnel_cut as (
                select
                    *
                    {%- for step in required %}
                        ,
                        {%- set at = (loop.index - 1) * stride + 1 %}
                        case when chain[{{ at }}] <= closes_at then chain[{{ at }}] end as t{{ loop.index }}
                    {%- endfor %}
                from funnel_opened
            ),
            funnel_timed as (
                select
                    user_id,
                    entered_at,
                    closes_at,
                    segment,
                    {%- for step in required %} t{{ loop.index }},
                    {% endfor %}
                    {%- if settings.exclusions %}
                        {%- for exclusion in settings.exclusions %}
                            {%- set x = "chain[" ~ (exclusion.from_index * stride + 1 + loop.index) ~ "]" %}
                            {{ 'or ' if not loop.first }} (
                                t{{ exclusion.from_index + 1 }} is not null
                                and coalesce({{ x }} < t{{ exclusion.to_index + 1 }}, {{ x }} <= closes_at, false)
                            )
                        {%- endfor %} as is_excluded
                    {%- else %} false as is_excluded
                    {%- endif %}
                from funnel_cut
            ),
        {%- endif %}
        funnel_best as (
            {%- if entry == "first" %}
                select *
                from (select distinct on (user_id) * from funnel_timed order by user_id, entered_at) as funnel_first
                where
                    not is_excluded
                    {%- if entered_from is not none %} and entered_at >= {{ entered_from }}{% endif %}
                    {%- if entered_to is not none %} and entered_at <= {{ entered_to }}{% endif %}
            {%- else %}
                select distinct on (user_id) *
                from funnel_timed
                where
                    not is_excluded
                    {%- if entered_from is not none %} and entered_at >= {{ entered_from }}
                    {% endif %}
                    {%- if entered_to is not none %} and entered_at <= {{ entered_to }}
                    {% endif %}
                order by
                    user_id,
                    {%- for step in required %} (t{{ loop.index }} is not null)::int{{ ' + ' if not loop.last }}
                    {% endfor %} desc,
                    greatest({% for step in required %}t{{ loop.index }}{{ ', ' if not loop.last }}{% endfor %}),
                    entered_at desc
            {%- endif %}
        ),
        {%- if settings.optional_names %}
            funnel_detours as (
                select
                    funnel_best.user_id
                    {%- for detour in settings.optional %}
                        ,
                        min(funnel_events.occurred_at) filter (
                            where
                                funnel_events.step = {{ funnel__literal(detour.step) }}
                                and funnel_events.occurred_at >= t{{ detour.after }}
                                {%- if detour.after < required | length %}
                                    and funnel_events.occurred_at <= coalesce(t{{ detour.after + 1 }}, closes_at)
                                {%- endif %}
                        ) as o{{ detour.position }}
                    {%- endfor %}
                from funnel_best
                join
                    funnel_events
                    on funnel_events.user_id = funnel_best.user_id
                    and funnel_events.occurred_at between funnel_best.entered_at and funnel_best.closes_at
                where funnel_events.step in ({{ funnel__literals(settings.optional_names) }})
                group by funnel_best.user_id
            ),
        {%- endif %}
        funnel_taken as (
            select funnel_best.segment, taken.position, taken.taken_at, taken.since
            from funnel_best
            {%- if settings.optional_names %}
                left join funnel_detours on funnel_detours.user_id = funnel_best.user_id
            {%- endif %}
            cross join
                lateral(
                    values
                        {%- for row in settings.rows %}
                            ({{ row.position }}, {{ row.column }}, {{ row.since }}){{ ',' if not loop.last }}
                        {%- endfor %}
                ) as taken(position, taken_at, since)
        ),
        funnel_steps(position, step) as (
            values
                {%- for row in settings.rows %}
                    ({{ row.position }}, {{ funnel__literal(row.step) }}){{ ',' if not loop.last }}
                {%- endfor %}
        )
    select
        {%- if segment is not none %} funnel_taken.segment, {%- endif %}
        funnel_steps.position,
        funnel_steps.step,
        count(funnel_taken.taken_at) as users,
        (avg(extract(epoch from funnel_taken.taken_at - funnel_taken.since)))::double precision as average_seconds,
        percentile_cont(0.5) within group (
            order by extract(epoch from funnel_taken.taken_at - funnel_taken.since)::double precision
        ) as median_seconds
    from funnel_steps
    {%- if segment is none %}
        left join funnel_taken on funnel_taken.position = funnel_steps.position
        group by funnel_steps.position, funnel_steps.step
        order by funnel_steps.position
    {%- else %}
        join funnel_taken on funnel_taken.position = funnel_steps.position
        group by funnel_taken.segment, funnel_steps.position, funnel_steps.step
        order by funnel_taken.segment, funnel_steps.position
    {%- endif %}
{%- endmacro %}


{#- The chains that start at each instant: CTEs `funnel_<prefix>K` … `funnel_<prefix>1`, whose last has the column `<prefix>1`.

A chain is an array of the steps' times, each followed by the next instants of the excluded events, cut where no next step follows.
Arrays compare by their first element, and a user has one row per instant, so the least of the later chains is the earliest. -#}
{% macro funnel__chains(source, required, names, prefix, exclusions, is_strict) %}
    {%- set previous = namespace(name=source) -%}
    {%- for index in range(required | length, 0, -1) %}
        funnel_{{ prefix }}{{ index }} as (
            select *, {{ funnel__chain(required, names, prefix, exclusions, index, index) }} as {{ prefix }}{{ index }}
            from
                {%- if index == required | length %} {{ previous.name }}
                {%- else %}
                    (
                        select
                            *,
                            {% if is_strict -%}
                                lag({{ prefix }}{{ index + 1 }}) over (partition by user_id order by occurred_at desc)
                            {%- else -%}
                                min({{ prefix }}{{ index + 1 }}) over (
                                    partition by user_id
                                    order by occurred_at desc
                                    rows between unbounded preceding and 1 preceding
                                )
                            {%- endif %} as after_{{ prefix }}{{ index + 1 }}
                        from {{ previous.name }}
                    ) as later
                {%- endif %}
        ),
        {%- set previous.name = "funnel_" ~ prefix ~ index %}
    {%- endfor %}
{%- endmacro %}


{#- The chain from step `first` on, from `index` at this instant if one of its events is left over, else at a later one. -#}
{% macro funnel__chain(required, names, prefix, exclusions, first, index) -%}
    {%- if index > required | length -%} '{}'
    {%- else -%}
        {%- set name = required[index - 1] -%}
        {%- set needed = required[first - 1 : index] | select("equalto", name) | list | length -%}
        case
            when n{{ names.index(name) + 1 }} >= {{ needed }}
            then
                array[occurred_at{% for x in range(1, exclusions + 1) %}, x{{ x }}{% endfor %}]
                {%- if index < required | length %}
                    || {{ funnel__chain(required, names, prefix, exclusions, first, index + 1) }}
                {% endif %}
            {%- if index > first %} else coalesce(after_{{ prefix }}{{ index }}, '{}')
            {% endif %}
        end
    {%- endif -%}
{%- endmacro %}


{#- Puts into `settings` what the arguments mean; wrong ones stop with a sentence. -#}
{% macro funnel__settings(settings, steps, order, entry, window_seconds, exclusions, optional_steps) %}
    {%- set steps = steps | list -%}
    {%- if order not in ["ordered", "strict", "unordered"] -%}
        {{
            exceptions.raise_compiler_error(
                "funnel: order is 'ordered', 'strict' or 'unordered', not '" ~ order ~ "'."
            )
        }}
    {%- endif -%}
    {%- if entry not in ["first", "any"] -%}
        {{ exceptions.raise_compiler_error("funnel: entry is 'first' or 'any', not '" ~ entry ~ "'.") }}
    {%- endif -%}
    {%- if not steps -%} {{ exceptions.raise_compiler_error("funnel: name at least one step.") }}{%- endif -%}
    {%- if window_seconds is not number or window_seconds < 0 -%}
        {{ exceptions.raise_compiler_error("funnel: window_seconds is a number of seconds, 0 or more.") }}
    {%- endif -%}
    {%- set optional_names = [] -%}
    {%- for step in optional_steps or [] -%}
        {%- set name = steps[step] if step is number else step -%}
        {%- if steps | select("equalto", name) | list | length != 1 -%}
            {{
                exceptions.raise_compiler_error(
                    "funnel: the optional step '" ~ name ~ "' has to be one of the steps, once."
                )
            }}
        {%- endif -%}
        {%- do optional_names.append(name) -%}
    {%- endfor -%}
    {%- if steps[0] in optional_names -%}
        {{ exceptions.raise_compiler_error("funnel: the first step opens the funnel, so it can't be optional.") }}
    {%- endif -%}
    {%- if order == "unordered" and optional_names -%}
        {{
            exceptions.raise_compiler_error(
                "funnel: an unordered funnel counts how many steps were taken; leave optional steps out of it."
            )
        }}
    {%- endif -%}
    {%- set required = [] -%}
    {%- set names = [] -%}
    {%- set rows = [] -%}
    {%- set optional = [] -%}
    {%- for step in steps -%}
        {%- if step in optional_names -%}
            {%- do optional.append({"position": loop.index, "step": step, "after": required | length}) -%}
            {%- do rows.append(
                {
                    "position": loop.index,
                    "step": step,
                    "column": "o" ~ loop.index,
                    "since": "t" ~ (required | length),
                }
            ) -%}
        {%- else -%}
            {%- do required.append(step) -%}
            {%- if step not in names -%} {%- do names.append(step) -%}
            {%- endif -%}
            {%- do rows.append(
                {
                    "position": loop.index,
                    "step": step if order != "unordered" else loop.index ~ " of " ~ steps | length,
                    "column": "t" ~ (required | length),
                    "since": (
                        "t" ~ (required | length - 1)
                        if required | length > 1
                        else "case when false then t1 end"
                    ),
                }
            ) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- set checked = [] -%}
    {%- set exclusion_names = [] -%}
    {%- for exclusion in exclusions or [] -%}
        {%- set from_step = steps[exclusion.from_step] if exclusion.from_step is number else exclusion.from_step -%}
        {%- set to_step = steps[exclusion.to_step] if exclusion.to_step is number else exclusion.to_step -%}
        {%- if from_step not in required or to_step not in required -%}
            {{
                exceptions.raise_compiler_error(
                    "funnel: an exclusion lies between two required steps; '" ~ exclusion.event ~ "' names another."
                )
            }}
        {%- endif -%}
        {%- set skipped_from = (
            steps[: exclusion.from_step] | select("in", optional_names) | list | length
            if exclusion.from_step is number
            else 0
        ) -%}
        {%- set skipped_to = (
            steps[: exclusion.to_step] | select("in", optional_names) | list | length
            if exclusion.to_step is number
            else 0
        ) -%}
        {%- set from_index = (
            exclusion.from_step - skipped_from
            if exclusion.from_step is number
            else required.index(from_step)
        ) -%}
        {%- set to_index = (
            exclusion.to_step - skipped_to if exclusion.to_step is number else required.index(to_step)
        ) -%}
        {%- if from_index >= to_index -%}
            {{
                exceptions.raise_compiler_error(
                    "funnel: the exclusion of '" ~ exclusion.event ~ "' has to end at a later step than it begins."
                )
            }}
        {%- endif -%}
        {%- if order == "unordered" and from_index != 0 -%}
            {{
                exceptions.raise_compiler_error(
                    "funnel: in an unordered funnel an exclusion can only begin at the first step."
                )
            }}
        {%- endif -%}
        {%- do checked.append({"event": exclusion.event, "from_index": from_index, "to_index": to_index}) -%}
        {%- do exclusion_names.append(exclusion.event) -%}
    {%- endfor -%}
    {%- do settings.update(
        {
            "required": required,
            "names": names,
            "rows": rows,
            "optional": optional,
            "optional_names": optional_names,
            "exclusions": checked,
            "exclusion_names": exclusion_names,
        }
    ) -%}
{% endmacro %}


{% macro funnel__relation(events) -%}
    {%- set text = events | string | trim -%}
    {%- if text.lower().startswith("select ") or text.lower().startswith("with ") or text.lower().startswith(
        "select\n"
    ) or text.lower().startswith("with\n") -%}
        ({{ text }})
    {%- else -%} {{ text }}
    {%- endif -%}
{%- endmacro %}


{% macro funnel__literal(text) -%} {{ "'" ~ (text | string | replace("'", "''")) ~ "'" }} {%- endmacro %}


{% macro funnel__literals(texts) -%}
    {%- for text in texts | unique %} {{ funnel__literal(text) }}{{ ', ' if not loop.last }}{% endfor -%}
{%- endmacro %}
