"""Which names mean which exercise, and which mean none: the table is the taste, properties guard the rest."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.exercises.catalogue import load_catalogue, split_list
from domain.exercises.matching import match, match_names
from domain.exercises.names import name_key


def matched_name(name: str | None, hint: str | None = None) -> str | None:
    key = match(name, equipment_hint=hint)
    if key is None:
        return None
    catalogue = load_catalogue()
    return str(catalogue.frame["name"].iloc[catalogue.row_by_key[key]])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # word order, case, spaces, punctuation
        ("Squat (Barbell)", "Squat (Barbell)"),
        ("Barbell Squat", "Squat (Barbell)"),
        ("  barbell   SQUAT ", "Squat (Barbell)"),
        ("squat, barbell", "Squat (Barbell)"),
        ("Squat ( Barbell )", "Squat (Barbell)"),
        ("Squat(Barbell)", "Squat (Barbell)"),
        ('"Squat (Barbell)"', "Squat (Barbell)"),
        ("Squat (Barbell", "Squat (Barbell)"),
        ("squat_barbell", "Squat (Barbell)"),
        ("Ｓｑｕａｔ (Barbell)", "Squat (Barbell)"),
        ("Bench Press – Close Grip (Barbell)", "Bench Press - Close Grip (Barbell)"),
        ("Bench Press — close-grip (barbell)", "Bench Press - Close Grip (Barbell)"),
        ("Close Grip Barbell Bench Press", "Bench Press - Close Grip (Barbell)"),
        ("Narrow Grip Bench Press (Barbell)", "Bench Press - Close Grip (Barbell)"),
        # plurals, spellings, abbreviations
        ("Push-ups", "Push Up (Bodyweight)"),
        ("Pushups", "Push Up (Bodyweight)"),
        ("Pull-Ups", "Pull Up (Bodyweight)"),
        ("pullup", "Pull Up (Bodyweight)"),
        ("Dumbbell Flyes", "Chest Fly (Dumbbell)"),
        ("Dumbbell Flies", "Chest Fly (Dumbbell)"),
        ("DB Bench Press", "Bench Press (Dumbbell)"),
        ("BB Row", "Bent Over Row (Barbell)"),
        ("KB Swing", "Kettlebell Swing"),
        ("Dumbell Curl", "Bicep Curl (Dumbbell)"),
        ("EZ-Bar Curl", "Bicep Curl (EZ Bar)"),
        ("Tricep Push Down", "Triceps Pushdown (Cable)"),
        ("Tricep Pressdown", "Triceps Pushdown (Cable)"),
        ("T-Bar Row", "T Bar Row"),
        ("One Arm DB Row", "Row - Single Arm (Dumbbell)"),
        ("Single-Arm Dumbbell Row", "Row - Single Arm (Dumbbell)"),
        ("RDL", "Romanian Deadlift (Barbell)"),
        ("DB RDL", "Romanian Deadlift (Dumbbell)"),
        ("OHP", "Overhead Press (Barbell)"),
        ("Farmer's Walk", "Farmers Walk (Dumbbell)"),
        ("Farmer’s Walk", "Farmers Walk (Dumbbell)"),
        ("TRX Row", "Inverted Row (Suspension)"),
        ("Smith Squat", "Squat (Smith Machine)"),
        ("Squat (Landmine)", "Landmine Squat (Barbell)"),
        ("Leg Presses", "Leg Press (Machine)"),
        ("Presse à cuisses", "Leg Press (Machine)"),
        ("Hex Bar Deadlift", "Deadlift (Trap Bar)"),
        ("Standing Calf Raise (Smith)", "Standing Calf Raise (Smith Machine)"),
        # what an app's unqualified name means
        ("Squat", "Squat (Barbell)"),
        ("Deadlift", "Deadlift (Barbell)"),
        ("Bench Press", "Bench Press (Barbell)"),
        ("Hack Squat", "Hack Squat (Machine)"),
        ("Lat Pulldown", "Lat Pulldown (Cable)"),
        ("Dumbbell Row", "Row - Single Arm (Dumbbell)"),
        ("Flat Barbell Bench Press", "Bench Press (Barbell)"),
        ("Plank (Bodyweight)", "Plank"),
        ("Exercise Bike", "Cycling (Indoor)"),
        # neighbours that must stay apart
        ("Incline Bench Press (Dumbbell)", "Incline Bench Press (Dumbbell)"),
        ("Decline Bench Press (Dumbbell)", "Decline Bench Press (Dumbbell)"),
        ("Squat (Machine)", "Squat (Machine)"),
        ("Squat (Band)", "Squat (Band)"),
        ("Front Squat", "Front Squat (Barbell)"),
        ("Chin Up", "Chin Up (Bodyweight)"),
        ("Wide Pull Up", "Pull Up - Wide Grip (Bodyweight)"),
        ("Machine Row", "Seated Row (Machine)"),
        ("Rowing Machine", "Rowing Machine"),
        ("Rowing (Machine)", "Rowing Machine"),
        ("Lying Leg Curl (Machine)", "Lying Leg Curl (Machine)"),
        ("Seated Leg Curl (Machine)", "Seated Leg Curl (Machine)"),
        ("Leg Press Calf Raise", "Calf Press - Leg Press (Machine)"),
        ("Reverse Curl (Barbell)", "Reverse Curl (Barbell)"),
        ("Reverse Fly (Machine)", "Reverse Fly (Machine)"),
        ("Straight Leg Deadlift", "Stiff Leg Deadlift (Barbell)"),
        ("Cable Twist (Up to down)", "Cable Twist - Up to Down"),
        ("Cable Twist (Down to up)", "Cable Twist - Down to Up"),
        ("High to Low Cable Fly", "Cable Crossover"),
        ("Low to High Cable Fly", "Cable Crossover - Low (Cable)"),
        ("Hang Power Clean", "Hang Power Clean (Barbell)"),
        ("Hang Clean", "Hang Clean (Barbell)"),
        ("Sumo Squat", "Sumo Squat (Bodyweight)"),
        ("EZ Bar Spider Curl", "Spider Curl (EZ Bar)"),
        ("Elbow to Knee", "Cross Body Crunch (Bodyweight)"),
        ("Knees to Elbows", "Knees to Elbows (Bodyweight)"),
        # assistance and added load
        ("Pull Up (Assisted)", "Pull Up (Assisted)"),
        ("Assisted Pull Ups", "Pull Up (Assisted)"),
        ("Triceps Dip (Assisted)", "Triceps Dip (Assisted)"),
        ("Weighted Pull Ups", "Pull Up (Weighted)"),
        # other languages
        ("Bankdrücken (Langhantel)", "Bench Press (Barbell)"),
        ("BANKDRUECKEN (LANGHANTEL)", None),
        ("Klimmzüge", "Pull Up (Bodyweight)"),
        ("Kreuzheben", "Deadlift (Barbell)"),
        ("Sentadilla con barra", "Squat (Barbell)"),
        ("Press de banca (Mancuerna)", "Bench Press (Dumbbell)"),
        ("Développé couché (Barre)", "Bench Press (Barbell)"),
        ("Developpe couche (barre)", "Bench Press (Barbell)"),
        ("Soulevé de terre", "Deadlift (Barbell)"),
        # a quote that broke loose in an export
        ('Pause Deadlift 1"', "Deadlift - Paused (Barbell)"),
    ],
)
def test_a_known_name_means_its_exercise(name: str, expected: str | None) -> None:
    assert matched_name(name) == expected


@pytest.mark.parametrize(
    "name",
    [
        "",
        "   ",
        "---",
        "💪",
        "?",
        # too little said
        "Curl",
        "Row",
        "Press",
        "Fly",
        "Pulldown",
        "Leg Curl",
        "Incline Press",
        "Shoulder Press",
        "Chest Fly",
        "Reverse Fly",
        "Triceps Extension",
        "Wrist Curl",
        "Calf Raise",
        "Preacher Curl",
        "Shrug",
        "Grip",
        "Bike",
        "Ball Crunch",
        "Exercise",
        "Barbell",
        "Machine",
        "kettlebell",
        "Hammer Strength",
        "21",
        "Calf Raise (Machine)",
        "Single Leg Squat",
        # one word more changes the exercise
        "Incline Dumbbell Bench Press with Bands",
        "Squat with Bands (Barbell)",
        "Bench Press (Barbell) + Chains",
        "Bigger Incline Dumbbell Bench Press",
        "Half Squat (Barbell)",
        "Bench Press (Trap Bar)",
        "Deadlift (Cable)",
        "Not a Bench Press",
        "Bench Press 2",
        "Single Leg Squat (Barbell)",
        "Crunch Grip",
        "Assisted Bench Press",
        "Weighted Squat",
        "Leg Press Technogym (Gelb)",
        "Chin Ups (Cable)",
        "Flat Barbell Bench Press (Each Side) (Smith Machine)",
        "Overhead Press (Each Side",
        "Hanging Leg Raise L",
        "Total Weight Pullups",
        # other things that people write down
        "Tommys",
        "huppelen",
        "Iliac Pulldown",
        "Morning routine",
        "приседания",
        "ベンチプレス",
        "'; drop table exercises; --",
    ],
)
def test_an_unknown_name_means_no_exercise(name: str) -> None:
    assert matched_name(name) is None


def test_absent_names_mean_no_exercise() -> None:
    assert match(None) is None
    assert match(float("nan")) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "hint", "expected"),
    [
        ("Bench Press", "Barbell", "Bench Press (Barbell)"),
        ("Bench Press", "Dumbbell", "Bench Press (Dumbbell)"),
        ("Bench Press", "Dumbbells", "Bench Press (Dumbbell)"),
        ("Bench Press", "Smith Machine", "Bench Press (Smith Machine)"),
        ("Bench Press", "Kettlebell", None),
        ("Bench Press", "Leverage", None),
        ("Bench Press", "", "Bench Press (Barbell)"),
        ("Bench Press", "  ", "Bench Press (Barbell)"),
        ("Bench Press", "None", "Bench Press (Barbell)"),
        ("Squat", "Bodyweight", "Squat (Bodyweight)"),
        ("Pullup", "Bodyweight", "Pull Up (Bodyweight)"),
        ("Plank", "Bodyweight", "Plank"),
        ("Deadlift", "Bodyweight", None),
        ("Seated Calves Raises", "Machine", "Seated Calf Raise (Machine)"),
        ("Bench Press (Dumbbell)", "Dumbbell", "Bench Press (Dumbbell)"),
        ("Bench Press (Dumbbell)", "Barbell", None),
        ("Triceps Extension", "Cable", "Triceps Extension (Cable)"),
        ("Curl", "Barbell", "Bicep Curl (Barbell)"),
        ("Ab Wheel", "Ab Wheel", "Ab Wheel"),
    ],
)
def test_an_equipment_column_completes_a_name_and_never_contradicts_a_match(name: str, hint: str, expected: str | None) -> None:
    assert matched_name(name, hint) == expected


def test_every_name_and_alias_of_the_catalogue_finds_its_own_exercise() -> None:
    frame = load_catalogue().frame
    for key, name, aliases in zip(frame["exercise_key"], frame["name"], frame["aliases"], strict=True):
        for spelling in [name, *split_list(aliases)]:
            assert match(spelling) == key, spelling


def test_the_equipment_that_an_alias_names_is_needed_for_its_exercise() -> None:
    named = {
        "barbell": "barbell",
        "dumbbell": "dumbbell",
        "kettlebell": "kettlebell",
        "cable": "cable",
        "smith": "smith_machine",
        "band": "band",
        "suspension": "suspension",
        "ezbar": "ez_bar",
        "trapbar": "trap_bar",
    }
    frame = load_catalogue().frame
    for name, requires, aliases in zip(frame["name"], frame["requires"], frame["aliases"], strict=True):
        for spelling in [name, *split_list(aliases)]:
            equipment = {named[word] for word in name_key(spelling) if word in named}
            assert equipment <= set(split_list(requires)), f"{spelling} -> {name}"


@given(data=st.data())
def test_shouting_reordering_and_punctuation_change_no_match(data: st.DataObject) -> None:
    frame = load_catalogue().frame
    row = data.draw(st.integers(0, len(frame) - 1))
    name = frame["name"].iloc[row]
    variants = [name.upper(), name.lower(), f'"{name}"', f"  {name} ", name.replace(" - ", " – "), name.replace("(", " ( ")]
    if name.endswith(")"):
        movement, _, equipment = name[:-1].rpartition(" (")
        variants += [f"{equipment} {movement}", f"{movement}, {equipment}", f"{movement} [{equipment}]"]
    assert match(data.draw(st.sampled_from(variants))) == frame["exercise_key"].iloc[row]


@given(data=st.data(), extra=st.sampled_from(["chains", "tempo 3 1 3", "unilateral", "modified", "left", "half", "test", "2", "zzz"]))
def test_a_word_that_the_catalogue_does_not_know_there_prevents_a_match(data: st.DataObject, extra: str) -> None:
    catalogue = load_catalogue()
    name = data.draw(st.sampled_from(catalogue.frame["name"].tolist()))
    longer = f"{name} {extra}"
    assert match(longer) == catalogue.key_by_name.get(name_key(longer))
    if match(longer) is not None:
        assert match(longer) != match(name)


@given(st.text(max_size=60))
def test_any_text_gives_a_known_key_or_none(text: str) -> None:
    key = match(text, equipment_hint=text)
    assert key is None or load_catalogue().rows_of([key])[0] >= 0


def test_the_vectorised_form_agrees_with_one_by_one_and_keeps_the_index() -> None:
    names = pd.Series(["Squat", "nonsense", None, "Squat", "Bench Press", np.nan, "Bench Press"], index=list("abcdefg"))
    hints = [None, None, "Barbell", "Bodyweight", "Dumbbell", None, ""]
    found = match_names(names, hints)
    expected = [match(name, equipment_hint=hint) for name, hint in zip(names.tolist(), hints, strict=True)]
    assert found.index.tolist() == list("abcdefg")
    assert str(found.dtype) == "Int32"
    assert [None if value is pd.NA else value for value in found.tolist()] == expected
    assert expected[1] is expected[2] is expected[5] is None
    assert match_names([]).tolist() == []


def test_names_and_hints_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="2 names but 1 equipment hints"):
        match_names(["Squat", "Deadlift"], ["Barbell"])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("バックスクワット", "ハックスクワット"),  # back squat, hack squat
        ("スクワット (バーベル)", "スクワット (ダンベル)"),
        ("हिप थ्रस्ट", "हेप थ्रस्ट"),
        ("กัด", "กิด"),
        ("스쿼트", "스쿼드"),
        ("шраги й", "шраги и"),
    ],
)
def test_marks_that_make_another_word_keep_two_names_apart(one: str, other: str) -> None:
    assert name_key(one) != name_key(other) and name_key(one) and name_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ﾊﾞｯｸｽｸﾜｯﾄ", "バックスクワット"),
        ("ハ\u3099ックスクワット", "バックスクワット"),
        ("バーベル スクワット", "スクワット (バーベル)"),
        ("Élévations latérales", "elevations laterales"),
        ("тяга верёвки", "тяга веревки"),
        ("شدّ", "شد"),
        ("❤️‍🔥 Squat", "squat"),
        ("1️⃣ Press", "1 press"),
    ],
)
def test_spellings_of_one_name_share_its_key(one: str, other: str) -> None:
    assert name_key(one) == name_key(other) != ()
