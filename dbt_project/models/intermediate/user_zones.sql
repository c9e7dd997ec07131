{{
    config(
        materialized="maintained_table",
        primary_key=["user_key"],
        indexes=[{"columns": ["time_zone"]}],
        replaces=["user_key"],
        change_kinds=["user"],
    )
}}
-- depends_on: {{ ref("changes") }}
select user_key, time_zone
from {{ ref("stg_users") }}
{%- if is_partial() %} where user_key in {{ changed_keys(["user_key"]) }} {%- endif %}
