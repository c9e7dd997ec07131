select
    event_id,
    user_key,
    feature,
    occurred_at,
    coalesce(nullif(platform, ''), '(none)') as platform,
    coalesce(nullif(app_version, ''), '(none)') as app_version
from {{ source("app", "usage_events") }}
