"""The planning engine: profiles, catalogue and training histories as columns in, four-week plans with reasons out."""

from domain.planning.batch import WEEKS, PlanBatch
from domain.planning.engine import ENGINE_VERSION, engine_version, plan_batch
from domain.planning.inputs import SESSIONS_KEPT, History, KeyLists, PlanningInputs
from domain.planning.reasons import refusal, sentence

__all__ = [
    "ENGINE_VERSION",
    "SESSIONS_KEPT",
    "WEEKS",
    "History",
    "KeyLists",
    "PlanBatch",
    "PlanningInputs",
    "engine_version",
    "plan_batch",
    "refusal",
    "sentence",
]
