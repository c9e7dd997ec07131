"""Why each number is what it is: stable codes, the numbers that go with them, and the sentences that they make."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Reason:
    number: int
    """What is stored; never reused for another meaning."""
    code: str
    numbers: tuple[str, ...]
    """Names of the stored numbers, in their order."""
    sentences: Mapping[str, str]
    """By locale, with the numbers as {name}; loads come as {name} with their unit already in."""


_LIST: Final = (
    # Loads
    Reason(
        1,
        "progress.double.load_up",
        ("sets", "reps", "load_kg", "step_kg"),
        {
            "en": "All {sets} sets reached {reps} reps at {load}, the top of the range, so the load goes up by {step}.",
            "de": "Alle {sets} Sätze erreichten {reps} Wiederholungen mit {load}, das obere Ende des Bereichs: {step} mehr.",
        },
    ),
    Reason(
        2,
        "progress.double.add_reps",
        ("sets", "reps", "load_kg", "top_reps"),
        {
            "en": "Last time the weakest of {sets} sets had {reps} reps at {load}; "
            "stay there until every prescribed set reaches {top_reps}.",
            "de": "Zuletzt hatte der schwächste von {sets} Sätzen {reps} Wiederholungen mit {load}; "
            "dabei bleiben, bis jeder vorgesehene Satz {top_reps} erreicht.",
        },
    ),
    Reason(
        3,
        "progress.double.hold_missed",
        ("sets", "reps", "load_kg", "floor_reps"),
        {
            "en": "A set fell to {reps} reps at {load}, below {floor_reps}; a first miss keeps the load.",
            "de": "Ein Satz fiel mit {load} auf {reps} Wiederholungen, unter {floor_reps}; beim ersten Mal bleibt das Gewicht.",
        },
    ),
    Reason(
        4,
        "progress.double.load_down",
        ("sets", "reps", "load_kg", "floor_reps"),
        {
            "en": "Twice in a row a set fell below {floor_reps} reps ({reps} at {load}), so the load comes down by about a tenth.",
            "de": "Zweimal in Folge fiel ein Satz unter {floor_reps} Wiederholungen ({reps} mit {load}): etwa ein Zehntel weniger.",
        },
    ),
    Reason(
        5,
        "progress.hold.lifted_less",
        ("sets", "reps", "load_kg", "prescribed_kg"),
        {
            "en": "Less was lifted than prescribed ({load} instead of {prescribed}), so the load doesn't go up.",
            "de": "Es wurde weniger gehoben als vorgesehen ({load} statt {prescribed}), daher kein höheres Gewicht.",
        },
    ),
    Reason(
        6,
        "progress.stall.reset",
        ("sessions", "reps", "load_kg", "e1rm_kg"),
        {
            "en": "No progress over {sessions} sessions (best estimate {e1rm}); the load drops by about a tenth to build up anew.",
            "de": "Kein Fortschritt in {sessions} Einheiten (beste Schätzung {e1rm}); etwa ein Zehntel weniger, um neu aufzubauen.",
        },
    ),
    Reason(
        7,
        "progress.layoff_return",
        ("weeks_off", "reps", "load_kg", "before_kg"),
        {
            "en": "Back after {weeks_off} weeks off and nothing missed at {load}: a larger step towards the {before} of before.",
            "de": "Zurück nach {weeks_off} Wochen Pause, nichts verfehlt mit {load}: ein größerer Schritt zu den {before} von vorher.",
        },
    ),
    Reason(
        8,
        "progress.double.heaviest",
        ("sets", "reps", "load_kg", "top_reps"),
        {
            "en": "All {sets} sets reached {reps} reps at {load}, and nothing heavier can be loaded: "
            "stay with the load, lower it slowly, and go beyond {top_reps}.",
            "de": "Alle {sets} Sätze erreichten {reps} Wiederholungen mit {load}, und schwerer geht es hier nicht: "
            "beim Gewicht bleiben, langsam ablassen und über {top_reps} hinausgehen.",
        },
    ),
    Reason(
        10,
        "load.from_e1rm",
        ("e1rm_kg", "uncertainty_pct", "reps", "reserve"),
        {
            "en": "From your estimated maximum of {e1rm} (± {uncertainty_pct} %) for {reps} reps with {reserve} in reserve.",
            "de": "Aus deinem geschätzten Maximum von {e1rm} (± {uncertainty_pct} %) für {reps} Wiederholungen mit {reserve} in Reserve.",
        },
    ),
    Reason(
        11,
        "load.from_related",
        ("e1rm_kg", "uncertainty_pct", "reps", "reserve"),
        {
            "en": "Carried over from a related exercise: an estimated maximum of {e1rm} (± {uncertainty_pct} %), "
            "so this is less certain; {reps} reps with {reserve} in reserve.",
            "de": "Von einer verwandten Übung übertragen: geschätztes Maximum {e1rm} (± {uncertainty_pct} %), "
            "daher unsicherer; {reps} Wiederholungen mit {reserve} in Reserve.",
        },
    ),
    Reason(
        12,
        "load.cold_start",
        ("e1rm_kg", "uncertainty_pct", "reps", "reserve"),
        {
            "en": "No log yet: a cautious start from an assumed maximum of {e1rm}; the first sessions correct it.",
            "de": "Noch kein Protokoll: ein vorsichtiger Anfang bei einem angenommenen Maximum von {e1rm}; "
            "die ersten Einheiten korrigieren es.",
        },
    ),
    Reason(
        17,
        "load.from_strength",
        ("e1rm_kg", "uncertainty_pct", "reps", "reserve"),
        {
            "en": "New to you: a cautious start from {e1rm}, judged by your strength in other exercises; the first sessions correct it.",
            "de": "Neu für dich: ein vorsichtiger Anfang bei {e1rm}, nach deiner Kraft in anderen Übungen; die ersten Einheiten korrigieren es.",
        },
    ),
    Reason(
        13,
        "load.lightest",
        ("load_kg", "wanted_kg", "reps", "reserve"),
        {
            "en": "The lightest load here is {load}, more than the {wanted} that would be right: stop a set when {reserve} reps are left.",
            "de": "Das leichteste Gewicht hier ist {load}, mehr als die passenden {wanted}: "
            "den Satz beenden, wenn {reserve} Wiederholungen übrig sind.",
        },
    ),
    Reason(
        14,
        "load.layoff",
        ("weeks_off", "cut_pct", "load_kg", "reserve"),
        {
            "en": "After {weeks_off} weeks off the load starts {cut_pct} % below {load} and comes back over the next weeks.",
            "de": "Nach {weeks_off} Wochen Pause beginnt das Gewicht {cut_pct} % unter {load} und kommt in den nächsten Wochen zurück.",
        },
    ),
    Reason(
        18,
        "load.after_limit",
        ("weeks_back", "cut_pct", "load_kg", "reserve"),
        {
            "en": "The area that you had to spare is back: the load starts {cut_pct} % below {load} and comes back over the next weeks. "
            "If it hurts, stop and see a professional.",
            "de": "Der geschonte Bereich ist wieder dabei: das Gewicht beginnt {cut_pct} % unter {load} und kommt in den nächsten Wochen "
            "zurück. Bei Schmerzen aufhören und fachlichen Rat suchen.",
        },
    ),
    Reason(
        15,
        "load.bodyweight",
        ("fewest_reps", "most_reps", "reserve", "best_reps"),
        {
            "en": "Your body is the load: {fewest_reps} to {most_reps}, stopping with {reserve} in reserve.",
            "de": "Der Körper ist das Gewicht: {fewest_reps} bis {most_reps}, mit {reserve} in Reserve aufhören.",
        },
    ),
    Reason(
        16,
        "load.by_feel",
        ("fewest_reps", "most_reps", "reserve", "best_reps"),
        {
            "en": "Choose a resistance that allows {fewest_reps} to {most_reps} reps with {reserve} in reserve.",
            "de": "Einen Widerstand wählen, der {fewest_reps} bis {most_reps} Wiederholungen mit {reserve} in Reserve erlaubt.",
        },
    ),
    Reason(
        20,
        "week.hold",
        ("reserve", "fewest_reps", "most_reps", "load_kg"),
        {
            "en": "Same load as the week before, closer to the limit: {reserve} reps in reserve.",
            "de": "Gleiches Gewicht wie in der Vorwoche, näher am Limit: {reserve} Wiederholungen in Reserve.",
        },
    ),
    Reason(
        21,
        "week.load_up",
        ("reserve", "fewest_reps", "most_reps", "load_kg"),
        {
            "en": "A small step up from {load} within the mesocycle, {reserve} reps in reserve.",
            "de": "Ein kleiner Schritt über {load} innerhalb des Mesozyklus, {reserve} Wiederholungen in Reserve.",
        },
    ),
    Reason(
        22,
        "week.deload",
        ("reserve", "fewest_reps", "most_reps", "load_kg"),
        {
            "en": "Deload week: about a tenth below {load} and fewer sets, so that you recover.",
            "de": "Entlastungswoche: etwa ein Zehntel unter {load} und weniger Sätze, zur Erholung.",
        },
    ),
    Reason(
        25,
        "week.deload_sets",
        ("reserve", "fewest_reps", "most_reps", "load_kg"),
        {
            "en": "Deload week: fewer sets, stopping with {reserve} in reserve, so that you recover.",
            "de": "Entlastungswoche: weniger Sätze, mit {reserve} in Reserve aufhören, zur Erholung.",
        },
    ),
    Reason(
        23,
        "week.layoff_return",
        ("reserve", "fewest_reps", "most_reps", "load_kg"),
        {
            "en": "Coming back from the break: a step up from {load}.",
            "de": "Rückkehr nach der Pause: ein Schritt über {load}.",
        },
    ),
    Reason(
        24,
        "week.after_deload",
        ("reserve", "fewest_reps", "most_reps", "load_kg"),
        {
            "en": "A new mesocycle after the deload week, back from {load}.",
            "de": "Ein neuer Mesozyklus nach der Entlastung, zurück von {load}.",
        },
    ),
    # Choice of exercise
    Reason(40, "exercise.best", (), {"en": "The first choice for this movement.", "de": "Die erste Wahl für diese Bewegung."}),
    Reason(41, "exercise.variant", (), {"en": "A variant, for a second day of this movement.", "de": "Eine Variante für den zweiten Tag."}),
    Reason(
        42,
        "exercise.familiar",
        (),
        {"en": "You already train this, so your log can steer it.", "de": "Das trainierst du schon, dein Protokoll steuert es."},
    ),
    Reason(43, "exercise.preferred", (), {"en": "One of the exercises that you like.", "de": "Eine deiner bevorzugten Übungen."}),
    Reason(
        44,
        "exercise.other_equipment",
        (),
        {"en": "In place of one that needs equipment you don't have.", "de": "Anstelle einer Übung, für die dir das Gerät fehlt."},
    ),
    Reason(
        45,
        "exercise.spares_area",
        (),
        {
            "en": "In place of one that would load the area you named. If it hurts, see a professional.",
            "de": "Anstelle einer Übung, die den genannten Bereich belastet. Bei Schmerzen fachlichen Rat suchen.",
        },
    ),
    Reason(
        46,
        "exercise.other_movement",
        (),
        {
            "en": "Nothing for this movement fits your equipment and limits; the nearest movement stands in.",
            "de": "Für diese Bewegung passt nichts zu Gerät und Grenzen; die nächste Bewegung springt ein.",
        },
    ),
    Reason(47, "exercise.not_disliked", (), {"en": "In place of one that you dislike.", "de": "Anstelle einer Übung, die du nicht magst."}),
    # Number of sets
    Reason(
        60,
        "sets.scheme",
        (),
        {"en": "The usual number of sets for your goal and experience.", "de": "Übliche Satzzahl für Ziel und Erfahrung."},
    ),
    Reason(
        61,
        "sets.time",
        (),
        {"en": "Cut to fit the minutes that you have.", "de": "Gekürzt, damit es in deine Zeit passt."},
    ),
    Reason(
        62,
        "sets.muscle_limit",
        (),
        {"en": "Fewer, since its muscles have enough sets this week.", "de": "Weniger, weil die Muskeln diese Woche genug Sätze haben."},
    ),
    Reason(63, "sets.layoff", (), {"en": "Fewer at first, after the break.", "de": "Anfangs weniger, nach der Pause."}),
    Reason(
        64,
        "sets.adherence",
        (),
        {"en": "Fewer, since many planned sessions were missed lately.", "de": "Weniger, weil zuletzt viele Einheiten ausfielen."},
    ),
    Reason(
        65,
        "sets.spared",
        (),
        {"en": "A set less, to spare the area you named.", "de": "Ein Satz weniger, um den genannten Bereich zu schonen."},
    ),
    Reason(
        66,
        "sets.recent_volume",
        (),
        {
            "en": "Built up from what your muscles did in the last four weeks, by at most a fifth a week.",
            "de": "Aufgebaut auf dem, was deine Muskeln in den letzten vier Wochen taten, höchstens ein Fünftel mehr pro Woche.",
        },
    ),
)

REASONS: Final[dict[str, Reason]] = {reason.code: reason for reason in _LIST}
BY_NUMBER: Final[dict[int, Reason]] = {reason.number: reason for reason in _LIST}
assert len(BY_NUMBER) == len(REASONS) == len(_LIST), "a reason's number or code is used twice"

LOCALES: Final = ("en", "de")


def number_of(code: str) -> int:
    return REASONS[code].number


def sentence(code: str | int, numbers: Mapping[str, float] | Sequence[float] = (), locale: str = "en", unit: str = "kg") -> str:
    """A reason as a sentence. `numbers` by name, or in the stored order; loads are in kg and shown in `unit`.

    A locale that isn't there falls back to English; a number that isn't known shows as "?".
    """
    reason = REASONS[code] if isinstance(code, str) else BY_NUMBER[code]
    named = dict(numbers) if isinstance(numbers, Mapping) else dict(zip(reason.numbers, numbers, strict=False))
    words = {}
    for name in reason.numbers:
        value = named.get(name)
        known = value is not None and not math.isnan(value)
        if name.endswith("_kg"):
            words[name.removesuffix("_kg")] = _load(float(value), unit) if known and value is not None else "?"
        else:
            words[name] = f"{float(value):.3g}" if known and value is not None else "?"
    return reason.sentences.get(locale, reason.sentences["en"]).format(**words)


def _load(kilograms: float, unit: str) -> str:
    shown = kilograms / 0.45359237 if unit == "lb" else kilograms
    return f"{round(shown, 2):g} {unit}"


REFUSALS: Final[dict[int, tuple[str, Mapping[str, str]]]] = {
    1: (
        "refused.session_too_short",
        {
            "en": "A session needs at least 10 minutes to hold one exercise with its warm-up.",
            "de": "Eine Einheit braucht mindestens 10 Minuten für eine Übung mit Aufwärmen.",
        },
    ),
    2: (
        "refused.no_exercise",
        {
            "en": "No exercise in the catalogue fits the equipment and the limitations together. "
            "See a professional about the limitations, or name more equipment.",
            "de": "Keine Übung des Katalogs passt zugleich zu Gerät und Einschränkungen. Fachlichen Rat suchen oder mehr Gerät angeben.",
        },
    ),
    3: (
        "refused.no_training_day",
        {"en": "The profile names no training day: choose one to six days a week.", "de": "Das Profil nennt keinen Trainingstag."},
    ),
}
SESSION_TOO_SHORT: Final = 1
NO_EXERCISE: Final = 2
NO_TRAINING_DAY: Final = 3


def refusal(number: int, locale: str = "en") -> tuple[str, str]:
    """(code, sentence) of a refusal."""
    code, sentences = REFUSALS[number]
    return code, sentences.get(locale, sentences["en"])
