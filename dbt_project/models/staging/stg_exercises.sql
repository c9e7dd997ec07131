select exercise_key, exercise_id, name as exercise_name, load_type, primary_muscles, secondary_muscles
from {{ source("app", "exercises") }}
