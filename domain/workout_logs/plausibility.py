"""What a person can have lifted: sets beyond these limits are typing errors and never become records.

The heaviest loads that people have moved are partial and geared lifts just under 600 kg, and leg presses around a tonne;
the limits stand above them, so that nothing real is refused, and below the slips of a finger (a missing decimal point,
a repetition count typed over a phone number).
"""

from typing import Final

from domain.workout_logs.columns import plain

MOST_REPS: Final = 1000
MOST_FREE_WEIGHT_KG: Final = 700.0
MOST_MACHINE_KG: Final = 1000.0
LONGEST_SET_SECONDS: Final = 24 * 3600.0
LONGEST_SET_METERS: Final = 1_000_000.0
LONGEST_WORKOUT_SECONDS: Final = 6 * 3600
"""A longer workout is an app left running: its duration is unknown."""

# Levers, sleds and short ranges, in the languages of the apps.
_LEVERED = (
    "leg press", "press de pierna", "prensa", "presse a cuisse", "beinpresse", "pressa", "beenpress", "benpress", "sled", "prowler",
    "schlitten", "calf", "wade", "mollet", "gemelo", "pantorr", "panturr", "polpacc", "kuit", "vad", "hip thrust", "glute bridge",
    "belt squat", "hack", "pendulum", "yoke", "carry", "farmer", "push", "pull through", "machine", "maschine", "maquina", "macchina",
    "block pull", "rack pull", "hip", "donkey", "lever",
)  # fmt: skip


def most_kg(exercise_name: str) -> float:
    """The heaviest load that a set of this exercise can have, kg."""
    words = plain(exercise_name)
    return MOST_MACHINE_KG if any(stem in words for stem in _LEVERED) else MOST_FREE_WEIGHT_KG
