"""From exported exercise names to catalogue exercises: an exact match after normalisation, or none. Never a guess."""

from collections.abc import Hashable, Iterable
from typing import Final

import numpy as np
import pandas as pd

from domain.exercises.catalogue import load_catalogue, split_list
from domain.exercises.names import name_key

# Words that an export's equipment column uses, normalised -> vocabulary words any of which may carry the exercise.
_HINTS: Final[dict[str, frozenset[str]]] = {
    hint: frozenset(words.split("|"))
    for hint, words in {
        "barbell": "barbell|ez_bar|trap_bar",
        "ezbar": "ez_bar",
        "trapbar": "trap_bar",
        "dumbbell": "dumbbell",
        "kettlebell": "kettlebell",
        "cable": "cable",
        "machine": "machine|smith_machine|cardio_machine",
        "smith": "smith_machine",
        "band": "band",
        "suspension": "suspension",
        "plate": "plate",
        "medball": "medicine_ball",
        "bodyweight": "|pull_up_bar|dip_bars|suspension|ab_wheel",
    }.items()
}
_NO_HINT = frozenset({"", "none", "other", "n/a", "-"})


def match(name: str | None, *, equipment_hint: str | None = None) -> int | None:
    """exercise_key of the exercise that `name` names, or None: then it's the user's custom exercise.

    Spelling doesn't matter (case, accents, punctuation, plurals, usual abbreviations, word order); every word does, so
    `Incline Bench Press (Dumbbell)` can't become a flat one and an unqualified name means only what an alias says.
    `equipment_hint` is the equipment column that some exports have: it completes a bare name, and a match that contradicts it is refused.
    """
    if not isinstance(name, str):
        return None
    key = name_key(name)
    if not key:
        return None
    known = load_catalogue().key_by_name
    hint = equipment_hint.strip() if isinstance(equipment_hint, str) else ""
    if hint.casefold() in _NO_HINT:
        return known.get(key)
    qualified = known.get(name_key(f"{name} ({hint})"))
    if qualified is not None:
        return qualified
    found = known.get(key)
    if found is None or not _agrees(found, hint):
        return None
    return found


def _agrees(exercise_key: int, hint: str) -> bool:
    """Whether the exercise uses the hinted equipment. An unknown word ("Leverage") can't confirm a match, so it refuses it."""
    allowed = _HINTS.get(" ".join(name_key(hint)))
    if allowed is None:
        return False
    catalogue = load_catalogue()
    exercise = catalogue.frame.iloc[int(catalogue.row_by_key[exercise_key])]
    return bool(allowed & {exercise["equipment"], *split_list(exercise["requires"])}) or (not exercise["equipment"] and "" in allowed)


def match_names(names: Iterable[Hashable], equipment_hints: Iterable[Hashable] | None = None) -> pd.Series:
    """exercise_key per name, nullable Int32 (`<NA>` = custom), in the order of `names`; each distinct name is looked up once.

    `names` is a Series (its index is kept) or any iterable of names; `equipment_hints`, when given, goes with it element by element.
    """
    series = names if isinstance(names, pd.Series) else pd.Series(list(names), dtype="object")
    hints: list[Hashable] = [None] * len(series) if equipment_hints is None else list(equipment_hints)
    if len(hints) != len(series):
        raise ValueError(f"{len(series)} names but {len(hints)} equipment hints")
    text = [value if isinstance(value, str) else None for value in series.tolist()]
    pairs = list(zip(text, (hint if isinstance(hint, str) else None for hint in hints), strict=True))
    found = {pair: match(pair[0], equipment_hint=pair[1]) for pair in set(pairs)}
    keys = [found[pair] for pair in pairs]
    values = np.array([key if key is not None else 0 for key in keys], dtype=np.int32)
    missing = np.array([key is None for key in keys], dtype=bool)
    return pd.Series(pd.arrays.IntegerArray(values, missing), index=series.index, name="exercise_key")
