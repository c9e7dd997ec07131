"""Sets packed as numbers come back as they were."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from database.planning_inputs import pack_sets, unpack_sets

LOADS = st.integers(0, 2000 * 10**8).map(lambda units: units / 10**8)
RPE = st.none() | st.integers(100, 1000).map(lambda hundredths: hundredths / 100)


@given(st.lists(st.tuples(LOADS, st.integers(0, 32767), RPE), max_size=20))
def test_every_load_repetition_and_rpe_that_the_app_can_log_survives_packing(sets):
    load_kg, reps, rpe = (np.array([np.nan if one[place] is None else one[place] for one in sets], dtype=np.float64) for place in range(3))
    packed = pack_sets(load_kg, reps, rpe)
    assert (packed >= 0).all()
    unpacked = unpack_sets(packed.astype(">i8"))
    for found, expected in zip(unpacked, (load_kg.astype(np.float32), reps.astype(np.int16), rpe.astype(np.float32)), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_forty_five_pounds_are_packed_exactly():
    assert pack_sets(np.array([45 * 0.45359237]), np.array([5]), np.array([8.5])).tolist() == [2_041_165_665 << 25 | 5 << 10 | 850]
