select user_key, time_zone, created_at from {{ source("app", "users") }}
