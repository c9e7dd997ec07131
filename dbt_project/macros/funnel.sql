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

  How: nearly everybody takes the steps in order, and who does has each step's first event as its time: one pass, no sort. For the others
  (all users of a strict or unordered funnel, or one that repeats a step), one row per user and instant, then backwards from the last step
  a running minimum per step gives each instant the chain that starts there: one sort, one pass per step. No self-join in either: repeated
  events cost nothing extra.
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
    {%- set has_first_touch = order == "ordered" and names | length == required | length -%}
    with
        funnel_events as not materialized(
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
        {%- if has_first_touch %}
            {{ funnel__first_touch(settings, segment is not none, entry) }}
        {%- endif %}
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
            from {{ "funnel_tangled" if has_first_touch else "funnel_events" }}
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
        funnel_followed as (
            {#- The best of each user's ways: the first, or the deepest, of those the one that got there first, of those the newest. #}
            select distinct on (user_id) *
            from funnel_timed
            {%- if entry == "first" %} order by user_id, entered_at
            {%- else %}
                where
                    not is_excluded and {{ funnel__entered(entered_from, entered_to) }}
                order by
                    user_id,
                    {%- for step in required %} (t{{ loop.index }} is not null)::int{{ ' + ' if not loop.last }}
                    {% endfor %} desc,
                    greatest({% for step in required %}t{{ loop.index }}{{ ', ' if not loop.last }}{% endfor %}),
                    entered_at desc
            {%- endif %}
        ),
        {%- set columns %}user_id, entered_at, closes_at, segment{% for step in required %}, t{{ loop.index }}{% endfor %}{% endset %}
        funnel_best as (
            select {{ columns }} from funnel_followed where not is_excluded and {{ funnel__entered(entered_from, entered_to) }}
            {%- if has_first_touch %}
                union all
                select {{ columns }} from funnel_in_order where {{ funnel__entered(entered_from, entered_to) }}
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
        funnel_measured as (
            select
                {% if segment is not none %} funnel_best.segment, {% endif %}
                {%- for row in settings.rows %}
                    count({{ row.column }}) as users_{{ loop.index }},
                    {%- if row.since is none %}
                        null::double precision as average_{{ loop.index }}, null::double precision as median_{{ loop.index }}
                    {%- else %}
                        avg({{ funnel__microseconds(row) }}::bigint) / 1000000 as average_{{ loop.index }},
                        percentile_cont(0.5) within group (order by {{ funnel__microseconds(row) }}) / 1000000 as median_{{ loop.index }}
                    {%- endif %}
                    {{- ',' if not loop.last }}
                {%- endfor %}
            from funnel_best
            {%- if settings.optional_names %}
                left join funnel_detours on funnel_detours.user_id = funnel_best.user_id
            {%- endif %}
            {%- if segment is not none %} group by funnel_best.segment {%- endif %}
        )
    select
        {%- if segment is not none %} funnel_measured.segment, {%- endif %}
        measure.position,
        measure.step,
        measure.users,
        measure.average_seconds,
        measure.median_seconds
    from funnel_measured
    cross join
        lateral(
            values
                {%- for row in settings.rows %}
                    (
                        {{ row.position }},
                        {{ funnel__literal(row.step) }},
                        users_{{ loop.index }},
                        average_{{ loop.index }}::double precision,
                        median_{{ loop.index }}
                    )
                    {{- ',' if not loop.last }}
                {%- endfor %}
        ) as measure(position, step, users, average_seconds, median_seconds)
    order by {% if segment is not none %} funnel_measured.segment, {% endif %} measure.position
{%- endmacro %}


{#- Of each user the first event of every step. Where no step's lies before that of the step before it, they are the times of the
steps: `funnel_in_order`. The others are followed event by event: `is_tangled`. So are users of an excluded event, and, where any entry
may be the best, those who entered twice. -#}
{% macro funnel__first_touch(settings, has_segment, entry) %}
    {%- set required = settings.required -%}
    {%- set first = funnel__literal(required[0]) -%}
        funnel_firsts as (
            select
                user_id
                {%- for step in required %}, min(occurred_at) filter (where step = {{ funnel__literal(step) }}) as t{{ loop.index }}
                {%- endfor %}
                {%- if entry == "any" %}, max(occurred_at) filter (where step = {{ first }}) as last_entered_at{% endif %}
                {%- if settings.exclusions %},
                    bool_or(step in ({{ funnel__literals(settings.exclusion_names) }})) as has_excluded
                {%- endif %}
            from funnel_events
            group by user_id
        ),
        funnel_touched as materialized(
            select
                *,
                t1 + make_interval(secs => {{ settings.window_seconds }}) as closes_at,
                coalesce(
                    {%- for step in required[1:] %} t{{ loop.index + 1 }} < t{{ loop.index }} or {% endfor %}
                    {%- if entry == "any" %} last_entered_at > t1 or {% endif %}
                    {%- if settings.exclusions %} has_excluded or {% endif %} false,
                    false
                ) as is_tangled
            from funnel_firsts
            where t1 is not null
        ),
        funnel_in_order as (
            select
                user_id,
                t1 as entered_at,
                closes_at,
                {% if has_segment %} entries.segment{% else %} '(none)' as segment{% endif %}
                {%- for step in required %}
                    ,
                    case
                        when num_nulls({% for before in required[:loop.index] %}t{{ loop.index }}{{ ', ' if not loop.last }}{% endfor %}) = 0
                            and t{{ loop.index }} <= closes_at
                        then t{{ loop.index }}
                    end as t{{ loop.index }}
                {%- endfor %}
            from funnel_touched
            {%- if has_segment %}
                join
                    (
                        select user_id, occurred_at, coalesce(min(segment), '(none)') as segment
                        from funnel_events
                        where step = {{ first }}
                        group by user_id, occurred_at
                    ) as entries using (user_id)
            {%- endif %}
            where not is_tangled {%- if has_segment %} and entries.occurred_at = t1 {%- endif %}
        ),
        {#- Materialised, or the planner sorts everybody's events to join the few. #}
        funnel_tangled as materialized(
            select * from funnel_events where user_id in (select user_id from funnel_touched where is_tangled)
        ),
{% endmacro %}


{#- Microseconds from the step before to the step, as a double that holds them exactly; null where it wasn't taken. -#}
{% macro funnel__microseconds(row) -%}
    round(date_part('epoch', {{ row.column }} - {{ row.since }}) * 1000000)
{%- endmacro %}


{#- Was the journey entered between the two bounds? -#}
{% macro funnel__entered(entered_from, entered_to) -%}
    {%- if entered_from is none and entered_to is none %}true
    {%- else -%}
        {%- if entered_from is not none %}entered_at >= {{ entered_from }}{% endif -%}
        {{- ' and ' if entered_from is not none and entered_to is not none -}}
        {%- if entered_to is not none %}entered_at <= {{ entered_to }}{% endif -%}
    {%- endif -%}
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
                    "since": "t" ~ (required | length - 1) if required | length > 1 else none,
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
            "window_seconds": window_seconds,
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
