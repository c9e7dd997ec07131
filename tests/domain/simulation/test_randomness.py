"""Draws that are functions of seed, name and indices."""

import uuid

import numpy as np

from domain.simulation.randomness import below, choose, hexadecimal, keys, normal, then, uniform, uuids

MANY = keys(7, "many", np.arange(200_000))


def test_uniform_and_normal_numbers_have_the_moments_they_should() -> None:
    numbers, errors = uniform(MANY), normal(then(MANY, 1))
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert abs(numbers.mean() - 0.5) < 0.005
    assert abs(numbers.var() - 1 / 12) < 0.001
    assert abs(errors.mean()) < 0.01
    assert abs(errors.std() - 1) < 0.01
    assert abs((errors**4).mean() - 3) < 0.4  # close to a normal's, with cut tails
    assert np.abs(errors).max() < 3.47


def test_neighbours_and_derived_draws_are_not_related() -> None:
    numbers = uniform(MANY)
    for other in (np.roll(numbers, 1), uniform(then(MANY, 0)), uniform(keys(8, "many", np.arange(200_000))), normal(then(MANY, 5))):
        assert abs(np.corrcoef(numbers, other)[0, 1]) < 0.01


def test_a_draw_depends_on_its_own_index_only() -> None:
    assert np.array_equal(keys(7, "many", np.arange(50, 60)), MANY[50:60])
    assert keys(7, "many", 3)[0] == MANY[3]
    grid = then(MANY[:4, None], np.arange(3)[None, :])
    assert grid[2, 1] == then(MANY[2:3], 1)[0]


def test_choices_come_as_often_as_their_weight() -> None:
    shares = np.bincount(choose(MANY, [5, 0, 3, 2]), minlength=4) / len(MANY)
    assert np.allclose(shares, [0.5, 0, 0.3, 0.2], atol=0.01)
    assert set(np.unique(below(MANY, 3))) == {0, 1, 2}
    assert below(MANY[:5], 0).tolist() == [0] * 5


def test_uuids_are_of_version_four_and_unique() -> None:
    drawn = [uuid.UUID(bytes=each.tobytes()) for each in uuids(MANY[:1000], then(MANY[:1000], 1))]
    assert {each.version for each in drawn} == {4}
    assert {each.variant for each in drawn} == {uuid.RFC_4122}
    assert len(set(drawn)) == 1000


def test_hexadecimal_ids_show_all_bits() -> None:
    assert hexadecimal(b"s-", np.array([0xABC], dtype=np.uint64)).tolist() == [b"s-0000000000000abc"]
