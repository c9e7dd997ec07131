"""Normal form of an exercise name: two spellings of one name, and nothing else, share it."""

import unicodedata
from functools import lru_cache

NameKey = tuple[str, ...]
"""Sorted words of a normalised name. Word order is dropped, so `Barbell Squat` equals `Squat (Barbell)`; words never are."""

_MARKS = frozenset({"Mn", "Mc"})
"""Categories of characters that are no letters but change one, as vowels do in Hindi and Thai."""
_APOSTROPHES = str.maketrans("", "", "'’‘`´ʼ")

# Runs of words that mean one thing. Applied longest first to singular, lower-case words; a result may hold several words.
_PHRASES: dict[tuple[str, ...], tuple[str, ...]] = {
    tuple(source.split()): tuple(target.split())
    for source, target in {
        "push up": "pushup",
        "press up": "pushup",
        "pull up": "pullup",
        "chin up": "chinup",
        "sit up": "situp",
        "step up": "stepup",
        "get up": "getup",
        "muscle up": "muscleup",
        "warm up": "warmup",
        "pull down": "pulldown",
        "push down": "pushdown",
        "press down": "pushdown",
        "pressdown": "pushdown",
        "pull over": "pullover",
        "pull apart": "pullapart",
        "cross over": "crossover",
        "kick back": "kickback",
        "roll out": "rollout",
        "dead lift": "deadlift",
        "dead hang": "deadhang",
        "dead bug": "deadbug",
        "jack knife": "jackknife",
        "good morning": "goodmorning",
        "skull crusher": "skullcrusher",
        "pec dec": "pecdeck",
        "pec deck": "pecdeck",
        "step mill": "stepmill",
        "stair master": "stairmaster",
        "hyper extension": "hyperextension",
        "wood chop": "woodchop",
        "wood chopper": "woodchopper",
        "face pull": "facepull",
        "bar bell": "barbell",
        "dumb bell": "dumbbell",
        "kettle bell": "kettlebell",
        "db": "dumbbell",
        "bb": "barbell",
        "kb": "kettlebell",
        "bw": "bodyweight",
        "body weight": "bodyweight",
        "trx": "suspension",
        "smith machine": "smith",
        "cable machine": "cable",
        "ez": "ezbar",
        "ez bar": "ezbar",
        "ez curl bar": "ezbar",
        "e z bar": "ezbar",
        "trap bar": "trapbar",
        "hex bar": "trapbar",
        "t bar": "tbar",
        "v bar": "vbar",
        "v handle": "vbar",
        "v grip": "vgrip",
        "resistance band": "band",
        "med ball": "medball",
        "medicine ball": "medball",
        "swiss ball": "stabilityball",
        "stability ball": "stabilityball",
        "one arm": "singlearm",
        "one armed": "singlearm",
        "1 arm": "singlearm",
        "1 armed": "singlearm",
        "single arm": "singlearm",
        "single armed": "singlearm",
        "one leg": "singleleg",
        "one legged": "singleleg",
        "1 leg": "singleleg",
        "1 legged": "singleleg",
        "single leg": "singleleg",
        "single legged": "singleleg",
        "stiff leg": "stiffleg",
        "stiff legged": "stiffleg",
        "straight leg": "straightleg",
        "straight legged": "straightleg",
        "iso lateral": "isolateral",
        "bent over": "bentover",
        "close grip": "close",
        "narrow grip": "close",
        "narrow": "close",
        "wide grip": "wide",
        "neutral grip": "neutral",
        "reverse grip": "reverse",
        "underhand grip": "underhand",
        "overhand grip": "overhand",
        "supinated grip": "supinated",
        "pronated grip": "pronated",
        # Order is the meaning here.
        "high to low": "hightolow",
        "low to high": "lowtohigh",
        "up to down": "uptodown",
        "down to up": "downtoup",
        "knee to elbow": "kneetoelbow",
        "elbow to knee": "elbowtoknee",
        "deltoid": "delt",
        "flye": "fly",
        "dumbell": "dumbbell",
        "dumbel": "dumbbell",
        "dumbbel": "dumbbell",
        "dumpbell": "dumbbell",
        "barbel": "barbell",
        "kettlebel": "kettlebell",
        "tricept": "tricep",
        "bicept": "bicep",
        "ohp": "overhead press",
        "rdl": "romanian deadlift",
        "sldl": "stiffleg deadlift",
        "bss": "bulgarian split squat",
        "cgbp": "close bench press",
        "ghr": "glute ham raise",
    }.items()
}
_LONGEST_PHRASE = max(map(len, _PHRASES))

# Words without meaning of their own. "with" and "without" aren't here: a squat with bands isn't a band squat.
_FILLERS = frozenset({"the", "a", "an", "of", "on", "and", "to"})

_IRREGULAR_PLURALS = {"flies": "fly", "calves": "calf", "crunches": "crunch", "presses": "press", "benches": "bench", "halves": "half"}

# A plural "s" is dropped; these endings aren't plurals.
_NOT_PLURAL_ENDINGS = ("ss", "us", "is")


def _singular(word: str) -> str:
    if word in _IRREGULAR_PLURALS:
        return _IRREGULAR_PLURALS[word]
    if len(word) >= 3 and word.endswith("s") and not word.endswith(_NOT_PLURAL_ENDINGS):
        return word[:-1]
    return word


def fold(text: str) -> str:
    """Lower case without accents, apostrophes and compatibility forms (full-width letters, ligatures).

    Marks that make another sound stay: of Japanese (バ isn't ハ), of Indian and South East Asian scripts, and the breve of й.
    """
    decomposed = unicodedata.normalize("NFKD", text.translate(_APOSTROPHES).casefold())
    kept = [
        letter
        for before, letter in zip(" " + decomposed, decomposed, strict=False)
        if not _is_accent(letter) or before + letter == "и\u0306"
    ]
    return unicodedata.normalize("NFC", "".join(kept))


def _is_accent(letter: str) -> bool:
    """Whether a mark may be left out in writing, or only chooses a picture. Classes 7 to 9 are nuktas, kana voicing and viramas, 84 to 199 vowels and tones."""
    mark = unicodedata.combining(letter)
    return "\ufe00" <= letter <= "\ufe0f" or (mark != 0 and not 7 <= mark <= 9 and not 84 <= mark < 200)


def _words(folded: str) -> list[str]:
    """Runs of letters, digits and the marks that belong to them; what has no letter or digit (an emoji) is no word."""
    spaced = "".join(letter if letter.isalnum() or unicodedata.category(letter) in _MARKS else " " for letter in folded)
    return [word for word in spaced.split() if any(map(str.isalnum, word))]


@lru_cache(maxsize=65536)
def name_key(name: str) -> NameKey:
    """Normal form of a name: case, accents, punctuation, plurals, usual abbreviations and word order don't matter; every word does.

    Returns an empty tuple for a name without a letter or digit.
    """
    words = [_singular(word) for word in _words(fold(name))]
    joined: list[str] = []
    position = 0
    while position < len(words):
        for length in range(min(_LONGEST_PHRASE, len(words) - position), 0, -1):
            replacement = _PHRASES.get(tuple(words[position : position + length]))
            if replacement is not None:
                joined.extend(replacement)
                position += length
                break
        else:
            joined.append(words[position])
            position += 1
    return tuple(sorted(word for word in joined if word not in _FILLERS))
