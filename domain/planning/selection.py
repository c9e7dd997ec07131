"""Which exercise fills each slot: the best for the need, unless the user trains, likes or dislikes another."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from domain.planning import reasons
from domain.planning.inputs import PlanningInputs
from domain.planning.movements import CANDIDATES, Candidates, Movements
from domain.planning.pick import pick
from domain.planning.splits import CHOICES, Need

FAMILIAR_DAYS: Final = 120
"""An exercise trained within so many days is familiar: its log steers its loads, so it goes before an equally good stranger."""

_KTH: Final = np.full((256, CANDIDATES), CANDIDATES, dtype=np.int8)
"""Position of the k-th candidate that isn't struck out, by the bits of those that are; CANDIDATES where there is none."""
for _struck in range(256):
    _left = [place for place in range(CANDIDATES) if not _struck >> place & 1]
    _KTH[_struck, : len(_left)] = _left
_LEFT: Final = np.array([CANDIDATES - int(struck).bit_count() for struck in range(256)], dtype=np.int8)

_BEST, _VARIANT, _FAMILIAR, _PREFERRED, _OTHER, _NOT_DISLIKED = (
    np.int8(reasons.number_of(f"exercise.{word}"))
    for word in ("best", "variant", "familiar", "preferred", "other_movement", "not_disliked")
)


@dataclass(frozen=True)
class Choice:
    row: NDArray[np.int16]
    """(days, slots, users) row of `Movements`; its last row where the slot stays empty."""
    reason: NDArray[np.int8]


def choose(
    slots: NDArray[np.int16],
    inputs: PlanningInputs,
    history_row: NDArray[np.int32],
    today: NDArray[np.int32],
    kind: NDArray[np.intp],
    pool: Candidates,
    table: Movements,
) -> Choice:
    """Fill the slots of n users who train on the same number of days.

    `slots`: (days, slots, n) need × CHOICES + choice, -1 none. `history_row`: the catalogue row of each row of the history, -1 for
    custom exercises. `kind`: each user's column of `pool`. An exercise appears once in a session; where its second appearance
    can't be filled otherwise the slot stays empty.
    """
    users = len(inputs)
    empty = len(table)
    pins, pin_count, struck, disliked_bits = _personal(inputs, history_row, today, kind, pool, table)
    flat = np.arange(users, dtype=np.intp)
    wanted = slots >= 0
    need, choice = np.maximum(slots, 0) // np.int16(CHOICES), (np.maximum(slots, 0) % np.int16(CHOICES)).astype(np.int8)
    at = need * np.intp(users) + flat
    pinned = pin_count.ravel().take(at)
    mask = struck.ravel().take(at)
    left = _LEFT.take(mask)
    from_pin = (choice < pinned) | (left == 0)
    pin_place = np.minimum(choice, np.maximum(pinned - np.int8(1), np.int8(0)))
    pin = pins.ravel().take((need * np.int16(CHOICES) + pin_place) * np.intp(users) + flat)
    nth = np.clip(choice - pinned, np.int8(0), np.maximum(left - np.int8(1), np.int8(0)))
    place = np.minimum(_KTH.ravel().take(mask.astype(np.int16) * np.int16(CANDIDATES) + nth), np.int8(CANDIDATES - 1))
    kinds = pool.best.shape[2]
    base = pool.best.ravel().take((need * np.int16(CANDIDATES) + place) * np.intp(kinds) + kind)
    row = pick(from_pin, pick(pinned > 0, pin & np.int16(1023), empty), base)
    row = pick(wanted, row, empty)
    for slot in range(1, row.shape[1]):
        again = row[:, slot] == row[:, 0]
        for earlier in range(1, slot):
            again |= row[:, slot] == row[:, earlier]
        row[:, slot] = pick(again, empty, row[:, slot])

    kind_at = need * np.intp(kinds) + kind
    reason = pool.reason.ravel().take(kind_at)
    plain = (reason == _BEST) & (choice > 0)
    reason = pick(plain, _VARIANT, reason)
    before = (np.left_shift(np.uint8(1), place.view(np.uint8)) - np.uint8(1)) & disliked_bits.ravel().take(at)
    reason = pick((before != 0) & (reason != _OTHER), _NOT_DISLIKED, reason)
    reason = pick(from_pin, pick(pin >= 1024, np.full_like(reason, _PREFERRED), _FAMILIAR), reason)
    return Choice(row, reason)


def _personal(
    inputs: PlanningInputs,
    history_row: NDArray[np.int32],
    today: NDArray[np.int32],
    kind: NDArray[np.intp],
    pool: Candidates,
    table: Movements,
) -> tuple[NDArray[np.int16], NDArray[np.int8], NDArray[np.uint8], NDArray[np.uint8]]:
    """What is personal about the choice, per need and user: up to CHOICES pinned rows (+1024 where preferred), how many,
    and bits of the candidates that are struck out (taken by pins, disliked, absent), and of those that are disliked."""
    users = len(inputs)
    empty = len(table)
    needs = len(Need)
    struck = pool.absent.take(kind, axis=1)
    disliked_bits = np.zeros((needs, users), dtype=np.uint8)

    disliked_user, disliked_row = _rows(inputs.disliked.offsets, inputs.disliked.keys, table)
    disliked_code = np.sort(disliked_user * 1024 + disliked_row)
    if len(disliked_user):
        own_need, place = (
            table.need.take(disliked_row),
            pool.place_of.ravel().take(disliked_row * pool.place_of.shape[1] + kind[disliked_user]),
        )
        listed = np.flatnonzero(place < CANDIDATES)
        at = own_need[listed].astype(np.intp) * users + disliked_user[listed]
        np.bitwise_or.at(disliked_bits.ravel(), at, np.left_shift(np.uint8(1), place[listed].view(np.uint8)))
        borrows = np.flatnonzero(pool.borrows.take(kind[disliked_user]))
        if len(borrows):
            user, row = disliked_user[borrows], disliked_row[borrows]
            best = pool.best.reshape(needs * CANDIDATES, -1).take(kind[user], axis=1)
            which, entry = np.nonzero(best == row.astype(np.int16))
            bit = np.left_shift(np.uint8(1), (which % CANDIDATES).astype(np.uint8))
            np.bitwise_or.at(disliked_bits, (which // CANDIDATES, user[entry]), bit)
    struck |= disliked_bits

    history = inputs.history
    owner = np.repeat(np.arange(users, dtype=np.int64), np.diff(history.offsets))
    age = today[owner] - history.session_on[:, 0] if len(history) else np.zeros(0, np.int32)
    known = (history_row >= 0) & (age <= FAMILIAR_DAYS)
    owner, row = owner[known], history_row[known].astype(np.int64)
    done = (history.top_reps > 0).view(np.int8)
    sessions = done[:, 0].astype(np.int32)
    for place in range(1, done.shape[1]):
        sessions += done[:, place]
    quality = np.clip(sessions * 1000 + FAMILIAR_DAYS - age, 0, 2**18 - 1)[known].astype(np.int64)
    held = owner * 1024 + row
    if not (held[1:] > held[:-1]).all():
        order = np.argsort(held)
        owner, row, quality, held = owner[order], row[order], quality[order], held[order]
    preferred_user, preferred_row = _rows(inputs.preferred.offsets, inputs.preferred.keys, table)
    if len(preferred_user):
        codes = preferred_user * 1024 + preferred_row
        is_held = _member(held, codes)
        quality[np.searchsorted(held, codes[is_held])] += 2**18
        fresh = ~is_held
        owner = np.concatenate([owner, preferred_user[fresh]])
        row = np.concatenate([row, preferred_row[fresh]])
        quality = np.concatenate([quality, np.full(int(fresh.sum()), 2**18, dtype=np.int64)])
        held = np.concatenate([held, codes[fresh]])
    need = table.pin_need.take(row)
    usable = (need >= 0) & pool.allowed.ravel().take(row * pool.allowed.shape[1] + kind.take(owner)) & ~_listed(held, disliked_code)
    chosen = np.flatnonzero(usable)
    owner, row, quality, need = owner.take(chosen), row.take(chosen), quality.take(chosen), need.take(chosen)
    order = np.sort((((owner * 32 + need) << 30) | ((2**20 - 1 - quality) << 10)) | row)
    group, row = order >> 30, order & 1023
    is_preferred = ((order >> 10) & (2**20 - 1)) <= 2**20 - 1 - 2**18
    starts = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]])) if len(group) else np.zeros(0, np.int64)
    rank = np.arange(len(group)) - np.repeat(starts, np.diff(np.append(starts, len(group))))
    first = rank < CHOICES
    group, row, rank, is_preferred = group[first], row[first], rank[first], is_preferred[first]
    owner, need = group >> 5, group & 31
    pins = np.full((needs, CHOICES, users), empty, dtype=np.int16)
    pins.ravel()[(need * CHOICES + rank) * users + owner] = row + 1024 * is_preferred
    at = need * users + owner
    count = np.zeros((needs, users), dtype=np.int8)
    count.ravel()[at] = rank + 1  # ranks of a need ascend: the last one stays
    position = pool.place_of.ravel().take(row * pool.place_of.shape[1] + kind.take(owner))
    among = np.flatnonzero(position < CANDIDATES)
    np.bitwise_or.at(struck.ravel(), at[among], np.left_shift(np.uint8(1), position[among].view(np.uint8)))
    return pins, count, struck, disliked_bits


def _rows(offsets: NDArray[np.int64], keys: NDArray[np.int32], table: Movements) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Users and rows of the listed exercises that the catalogue holds."""
    owner = np.repeat(np.arange(len(offsets) - 1, dtype=np.int64), np.diff(offsets))
    lookup = _row_lookup(table)
    inside = (keys >= 0) & (keys < len(lookup))
    row = np.where(inside, lookup[np.where(inside, keys, 0)], -1).astype(np.int64)
    return owner[row >= 0], row[row >= 0]


def _row_lookup(table: Movements) -> NDArray[np.int32]:
    rows = np.full(int(table.key.max()) + 1, -1, dtype=np.int32)
    rows[table.key[:-1]] = np.arange(len(table), dtype=np.int32)
    return rows


def _listed(codes: NDArray[np.int64], few: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of many codes are among a few sorted ones: by a filter of bits first, since most are not."""
    out = np.zeros(len(codes), dtype=bool)
    if len(few):
        seen = np.zeros(_FILTER, dtype=bool)
        seen[few & (_FILTER - 1)] = True
        likely = np.flatnonzero(seen.take(codes & (_FILTER - 1)))
        out[likely] = _member(few, codes[likely])
    return out


_FILTER: Final = 1 << 16


def _member(sorted_codes: NDArray[np.int64], codes: NDArray[np.int64]) -> NDArray[np.bool_]:
    if not len(sorted_codes):
        return np.zeros(len(codes), dtype=bool)
    return sorted_codes[np.minimum(np.searchsorted(sorted_codes, codes), len(sorted_codes) - 1)] == codes
