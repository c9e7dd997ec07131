"""Random numbers by counting instead of by state: each draw is a function of the seed, a name and indices, so that a user's
draws are the same in whatever block, order or number of users they are made."""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint64]
"""Sixty-four independent fair bits per element: what a key holds, and what the functions below turn into numbers."""

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def keys(seed: int, name: str, *indices: Any) -> Bits:
    """Bits for `name` at each of the (broadcast) non-negative integer `indices`."""
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()
    start = np.array([int.from_bytes(digest, "little")], dtype=np.uint64)
    return then(start, *indices)


def then(bits: Bits, *indices: Any) -> Bits:
    """New bits that follow from `bits` and `indices`: a user's, then its workouts', then their sets'.

    Each index costs one round of the SplitMix64 finaliser (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
    """
    result = bits
    for index in indices:
        result = _mix(result + (np.atleast_1d(index).astype(np.uint64) + np.uint64(1)) * _STEP)
    return result


def uniform(bits: Bits) -> NDArray[np.float64]:
    """Numbers in [0, 1)."""
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(bits: Bits) -> NDArray[np.float64]:
    """Numbers of mean 0 and deviation 1, never beyond ±3.47: the sum of four uniform 16-bit lanes."""
    lanes = np.ascontiguousarray(bits).view(np.uint16).reshape(*bits.shape, 4)
    return (lanes.sum(axis=-1, dtype=np.float64) - 131070.0) / (65536.0 * (4 / 12) ** 0.5)


def choose(bits: Bits, weights: Any) -> NDArray[np.intp]:
    """Positions into `weights`, each as often as its weight."""
    cumulative = np.cumsum(np.asarray(weights, dtype=float))
    return np.minimum(np.searchsorted(cumulative, uniform(bits) * cumulative[-1], side="right"), len(cumulative) - 1)


def below(bits: Bits, count: Any) -> NDArray[np.int64]:
    """Whole numbers from 0 up to, not including, `count` (0 where count is 0)."""
    return np.minimum((uniform(bits) * count).astype(np.int64), np.maximum(np.asarray(count) - 1, 0))


def hexadecimal(prefix: bytes, *bits: Bits) -> NDArray[np.bytes_]:
    """Text: the prefix and sixteen hexadecimal digits per key."""
    octets = np.concatenate([np.ascontiguousarray(each).astype(">u8").view(np.uint8).reshape(-1, 8) for each in bits], axis=1)
    digits = np.empty((len(octets), 2 * octets.shape[1] + len(prefix)), dtype=np.uint8)
    digits[:, : len(prefix)] = np.frombuffer(prefix, dtype=np.uint8)
    alphabet = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
    digits[:, len(prefix) :: 2] = alphabet[octets >> 4]
    digits[:, len(prefix) + 1 :: 2] = alphabet[octets & 15]
    return digits.view(f"S{digits.shape[1]}").ravel()


def uuids(high: Bits, low: Bits) -> NDArray[np.void]:
    """Random (version 4) UUIDs as sixteen bytes each."""
    octets = np.concatenate([np.ascontiguousarray(each).astype(">u8").view(np.uint8).reshape(-1, 8) for each in (high, low)], axis=1)
    octets[:, 6] = (octets[:, 6] & 0x0F) | 0x40
    octets[:, 8] = (octets[:, 8] & 0x3F) | 0x80
    return np.ascontiguousarray(octets).view("V16").ravel()


def _mix(bits: Bits) -> Bits:
    result = (bits ^ (bits >> np.uint64(30))) * _FIRST
    result = (result ^ (result >> np.uint64(27))) * _SECOND
    return result ^ (result >> np.uint64(31))
