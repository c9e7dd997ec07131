{{ config(materialized="view") }}
select as_of, (as_of at time zone 'UTC')::date as today_on, captured_at as searched_at
from {{ change_cursor() }}
