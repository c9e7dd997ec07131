"""The closed sets of words that every layer shares: parse at the border, trust inside."""

from enum import StrEnum
from typing import Final

KG_PER_LB: Final = 0.45359237
"""Exact, by international definition (1959)."""


class WeightUnit(StrEnum):
    KG = "kg"
    LB = "lb"


class Goal(StrEnum):
    STRENGTH = "strength"
    HYPERTROPHY = "hypertrophy"
    GENERAL_FITNESS = "general_fitness"
    FAT_LOSS = "fat_loss"
    POWERLIFTING = "powerlifting"


class ExperienceLevel(StrEnum):
    BEGINNER = "beginner"
    INTERMEDIATE = "intermediate"
    ADVANCED = "advanced"


class Sex(StrEnum):
    FEMALE = "female"
    MALE = "male"


class Equipment(StrEnum):
    """What a user may own and an exercise may need."""

    BARBELL = "barbell"
    EZ_BAR = "ez_bar"
    TRAP_BAR = "trap_bar"
    DUMBBELL = "dumbbell"
    KETTLEBELL = "kettlebell"
    CABLE = "cable"
    MACHINE = "machine"
    SMITH_MACHINE = "smith_machine"
    BAND = "band"
    SUSPENSION = "suspension"
    PULL_UP_BAR = "pull_up_bar"
    DIP_BARS = "dip_bars"
    BENCH = "bench"
    RACK = "rack"
    PLATE = "plate"
    MEDICINE_BALL = "medicine_ball"
    AB_WHEEL = "ab_wheel"
    BOX = "box"
    CARDIO_MACHINE = "cardio_machine"
    SLED = "sled"


class MovementPattern(StrEnum):
    SQUAT = "squat"
    LUNGE = "lunge"
    HINGE = "hinge"
    HORIZONTAL_PUSH = "horizontal_push"
    VERTICAL_PUSH = "vertical_push"
    HORIZONTAL_PULL = "horizontal_pull"
    VERTICAL_PULL = "vertical_pull"
    CHEST_FLY = "chest_fly"
    LATERAL_RAISE = "lateral_raise"
    REAR_DELT_FLY = "rear_delt_fly"
    ELBOW_FLEXION = "elbow_flexion"
    ELBOW_EXTENSION = "elbow_extension"
    WRIST = "wrist"
    SHRUG = "shrug"
    KNEE_EXTENSION = "knee_extension"
    KNEE_FLEXION = "knee_flexion"
    HIP_THRUST = "hip_thrust"
    HIP_ABDUCTION = "hip_abduction"
    HIP_ADDUCTION = "hip_adduction"
    CALF_RAISE = "calf_raise"
    TRUNK_FLEXION = "trunk_flexion"
    TRUNK_EXTENSION = "trunk_extension"
    TRUNK_ROTATION = "trunk_rotation"
    TRUNK_STABILITY = "trunk_stability"
    CARRY = "carry"
    OLYMPIC = "olympic"
    JUMP = "jump"
    CONDITIONING = "conditioning"
    NECK = "neck"
    MOBILITY = "mobility"


class Muscle(StrEnum):
    CHEST = "chest"
    FRONT_DELTS = "front_delts"
    SIDE_DELTS = "side_delts"
    REAR_DELTS = "rear_delts"
    LATS = "lats"
    UPPER_BACK = "upper_back"
    TRAPS = "traps"
    LOWER_BACK = "lower_back"
    BICEPS = "biceps"
    TRICEPS = "triceps"
    FOREARMS = "forearms"
    ABS = "abs"
    OBLIQUES = "obliques"
    QUADS = "quads"
    HAMSTRINGS = "hamstrings"
    GLUTES = "glutes"
    ADDUCTORS = "adductors"
    ABDUCTORS = "abductors"
    HIP_FLEXORS = "hip_flexors"
    CALVES = "calves"
    NECK = "neck"


class Laterality(StrEnum):
    BILATERAL = "bilateral"
    UNILATERAL = "unilateral"


class LoadType(StrEnum):
    """What the logged weight of an exercise means."""

    EXTERNAL = "external"
    BODYWEIGHT = "bodyweight"
    """Body weight is the load; a logged weight is added load (weighted pull-up)."""
    ASSISTED = "assisted"
    """The logged weight helps: less is more, so it never counts as a load record."""
    UNLOADED = "unloaded"
    """Time, distance or repetitions only."""


class BodyArea(StrEnum):
    """Where a limitation sits, and what an exercise's contraindication tag names."""

    NECK = "neck"
    SHOULDER = "shoulder"
    ELBOW = "elbow"
    WRIST = "wrist"
    UPPER_BACK = "upper_back"
    LOWER_BACK = "lower_back"
    HIP = "hip"
    KNEE = "knee"
    ANKLE = "ankle"


class Severity(StrEnum):
    CAUTION = "caution"
    AVOID = "avoid"


class SetType(StrEnum):
    WARMUP = "warmup"
    NORMAL = "normal"
    DROP = "drop"
    FAILURE = "failure"


class WorkoutSource(StrEnum):
    APP = "app"
    STRONG = "strong"
    HEVY = "hevy"
    FITNOTES = "fitnotes"
    SIMULATION = "simulation"


class SummaryRange(StrEnum):
    DAYS_7 = "7d"
    DAYS_30 = "30d"
    DAYS_90 = "90d"
    DAYS_365 = "365d"
    ALL = "all"

    @property
    def days(self) -> int | None:
        """Length in local days, both ends in; None for all."""
        return None if self is SummaryRange.ALL else int(self.value[:-1])


class RecordType(StrEnum):
    WEIGHT = "weight"
    E1RM = "e1rm"
    REPS = "reps"
    SET_VOLUME = "set_volume"
    WORKOUT_VOLUME = "workout_volume"


class OnboardingStep(StrEnum):
    """Steps of the app's current onboarding flow; the dbt seed `onboarding_flows` is the truth and a test holds both together."""

    WELCOME = "welcome"
    ACCOUNT = "account"
    GOAL = "goal"
    EXPERIENCE = "experience"
    EQUIPMENT = "equipment"
    SCHEDULE = "schedule"
    NOTIFICATIONS = "notifications"
    PLAN_PREVIEW = "plan_preview"


class OnboardingEventType(StrEnum):
    STARTED = "started"
    COMPLETED = "completed"
    SKIPPED = "skipped"
    ERROR = "error"


class Platform(StrEnum):
    IOS = "ios"
    ANDROID = "android"
    WEB = "web"


class UsageFeature(StrEnum):
    """What a usage event says was opened."""

    DASHBOARD = "dashboard"
    RECORDS = "records"
    PLAN = "plan"
    WORKOUT = "workout"


class PlanJobStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
