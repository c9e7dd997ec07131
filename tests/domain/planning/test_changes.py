"""What changed between two plans, and why."""

from dataclasses import replace

from domain.exercises.catalogue import load_catalogue
from domain.planning import plan_batch
from domain.planning.changes import Change, changes
from tests.domain.planning.people import TODAY, Done, Person, inputs_of, key_of


def test_the_same_plan_has_no_changes() -> None:
    batch = plan_batch(inputs_of([Person()]), load_catalogue())
    assert changes(batch, batch) == []


def test_a_load_that_rose_names_its_reason() -> None:
    squat = key_of("Squat (Barbell)")
    person = Person(log={squat: (Done(3, 100, (9, 9, 9)),)})
    before = plan_batch(inputs_of([person]), load_catalogue())
    done = replace(person, mesocycle_started=0, log={squat: (Done(0, 100, (10, 10, 10)), Done(3, 100, (9, 9, 9)))})
    after = plan_batch(inputs_of([done]), load_catalogue())
    found = [change for change in changes(before, after) if change.exercise_key == squat]
    assert found == [Change("load", squat, 100.0, 102.5, "progress.double.load_up")]


def test_a_week_later_the_plans_are_compared_where_they_overlap() -> None:
    person = Person(experience="beginner", goal="general_fitness")
    before = plan_batch(inputs_of([person]), load_catalogue())
    after = plan_batch(inputs_of([replace(person, mesocycle_started=7)], today=TODAY + 7), load_catalogue())
    assert int(after.starts_on[0]) == TODAY + 7
    assert {change.kind for change in changes(before, after)} <= {"load", "sets"}


def test_a_disliked_exercise_leaves_and_its_stand_in_says_why() -> None:
    bench = key_of("Bench Press (Barbell)")
    before = plan_batch(inputs_of([Person()]), load_catalogue())
    after = plan_batch(inputs_of([Person(disliked=(bench,), goal="strength", days=2)]), load_catalogue())
    found = changes(before, after)
    assert Change("goal", None, "hypertrophy", "strength", None) in found
    assert Change("days", None, 3, 2, None) in found
    assert any(change.kind == "exercise_removed" and change.exercise_key == bench for change in found)
    assert any(change.kind == "repetitions" for change in found)
