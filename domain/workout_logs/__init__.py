"""Readers of Strong, Hevy and FitNotes exports: bytes in, canonical workouts and sets out."""

from domain.workout_logs.errors import EmptyFile, UnknownFormat, WeightUnitMissing, WorkoutLogError
from domain.workout_logs.reader import ParsedLog, read_log

__all__ = ["EmptyFile", "ParsedLog", "UnknownFormat", "WeightUnitMissing", "WorkoutLogError", "read_log"]
