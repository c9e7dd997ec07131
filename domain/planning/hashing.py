"""A hash of each user's inputs, computed over columns: equal inputs, equal hash, whatever the order of users."""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from domain.planning.inputs import SESSIONS_KEPT, History, PlanningInputs
from domain.planning.plates import Inventory

# Constants of the splitmix64 generator (Steele, Lea, Flood 2014), whose output function mixes all bits.
_GAMMA: Final = np.uint64(0x9E3779B97F4A7C15)
_FIRST: Final = np.uint64(0xBF58476D1CE4E5B9)
_SECOND: Final = np.uint64(0x94D049BB133111EB)


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread every input bit over the word."""
    mixed = values + _GAMMA
    mixed ^= mixed >> np.uint64(30)
    mixed *= _FIRST
    mixed ^= mixed >> np.uint64(27)
    mixed *= _SECOND
    mixed ^= mixed >> np.uint64(31)
    return mixed


def words(column: NDArray) -> NDArray[np.uint64]:
    """A column's exact bits as unsigned words; NaNs are made one, and -0 is 0."""
    if column.dtype.kind == "f":
        plain = np.where(np.isnan(column), np.float32(np.nan), column + np.float32(0)).astype(np.float32)
        return plain.view(np.uint32).astype(np.uint64)
    if column.dtype.kind == "b":
        return column.astype(np.uint64)
    return column.astype(np.int64).view(np.uint64)


def fold(hashes: NDArray[np.uint64], column: NDArray) -> NDArray[np.uint64]:
    """Add a column to running hashes; the order of columns matters."""
    return mix(hashes ^ words(column))


_BEHIND_DERIVED = frozenset({"today", "mesocycle_started_on", "previous_goal", "inventory", "limits_returning", "limits_eased_on"})


def inputs_hash(inputs: PlanningInputs, *, inventories: NDArray[np.uint64], derived: Sequence[NDArray], salt: int) -> NDArray[np.int64]:
    """One hash per user over everything that can change the plan.

    The date, the last plan's mesocycle, the adherence and the end of a limitation act only through what the engine derives from them;
    `derived` goes in in their place, so that a day on which nothing happens, or a plan that repeats the last one, keeps its hash.
    `salt` stands for engine version and catalogue, `inventories` are the words of the users' plates (see `inventory_words`).
    """
    hashes = np.full(len(inputs), np.uint64(salt & (2**64 - 1)), dtype=np.uint64)
    for each in fields(inputs):
        value = getattr(inputs, each.name)
        if each.name not in _BEHIND_DERIVED and isinstance(value, np.ndarray):
            hashes = fold(hashes, value)
    for column in derived:
        hashes = fold(hashes, column)
    known = (inputs.inventory >= 0) & (inputs.inventory < len(inventories) - 1)
    hashes = fold(hashes, inventories[np.where(known, inputs.inventory, -1)].view(np.int64))
    for lists in (inputs.disliked, inputs.preferred):
        hashes = fold(hashes, _sum_by_user(mix(words(lists.keys)), lists.offsets).view(np.int64))
    return fold(hashes, _history_hashes(inputs.history).view(np.int64)).view(np.int64)


_HISTORY: Final = (
    "session_on",
    "top_load_kg",
    "rpe",
    "e1rm_kg",
    "exercise_key",
    "prescribed_kg",
    "top_reps",
    "fewest_reps",
    "sets_at_top",
    "working_sets",
    "prescribed_sets",
)


def _history_hashes(history: History) -> NDArray[np.uint64]:
    """Each row's bytes as words, every word times a number of its column and place, summed and mixed; then summed by user."""
    rows = np.zeros(len(history), dtype=np.uint64)
    odd = mix(np.arange(len(_HISTORY) + SESSIONS_KEPT, dtype=np.uint64)) | np.uint64(1)
    for number, name in enumerate(_HISTORY):
        column = getattr(history, name)
        if column.dtype.kind == "f":
            column = np.fmax(column, np.float32(-np.inf)) + np.float32(0)
        size = column.itemsize * (column.shape[1] if column.ndim == 2 else 1)
        word = np.dtype("<u8" if size % 8 == 0 else "<u4" if size % 4 == 0 else "<u2")
        row_words = np.ascontiguousarray(column).ravel().view(word).astype(np.uint64, copy=False)
        if word.itemsize == 8:
            # Folding the upper half into the lower one lets every bit reach the upper half of the product, whatever its place.
            row_words = row_words ^ (row_words >> np.uint64(32))
        at = row_words.reshape(len(history), size // word.itemsize)
        total = at[:, 0] * odd[len(_HISTORY)]
        for place in range(1, at.shape[1]):
            total += at[:, place] * odd[len(_HISTORY) + place]
        total *= odd[number]
        rows += total
    return _sum_by_user(mix(rows), history.offsets)


def inventory_words(inventories: Sequence[Inventory]) -> NDArray[np.uint64]:
    """One word per inventory, of what it holds, not of its place in the list, which depends on who else is planned; then 0 for none."""
    held = [0] * (len(inventories) + 1)
    for number, inventory in enumerate(inventories):
        digest = hashlib.blake2b(digest_size=8)
        for part in (inventory.barbell_kg, inventory.dumbbell_kg, inventory.stack_kg):
            digest.update(struct.pack(f"<q{len(part)}d", len(part), *part))
        held[number] = int.from_bytes(digest.digest(), "little")
    return np.array(held, dtype=np.uint64)


def _sum_by_user(rows: NDArray[np.uint64], offsets: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Sums of row hashes per group; groups may be empty. Wrap-around sums don't depend on the rows' order."""
    running = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(rows, dtype=np.uint64)])
    return running[offsets[1:]] - running[offsets[:-1]]
