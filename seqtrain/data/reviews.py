"""Short reviews whose label lies in the order of the words, made from a grammar of negation, contrast and degree."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from itertools import accumulate, combinations, pairwise, product
from typing import NamedTuple

from seqtrain.data.kinds import Labelled, Source

GOOD = """
good great excellent wonderful fantastic superb delightful lovely pleasant impressive brilliant amazing
marvellous splendid charming enjoyable terrific outstanding perfect satisfying remarkable fabulous memorable
beautiful refreshing nice magnificent exceptional admirable stunning phenomenal glorious appealing likeable
agreeable inspiring
"""
BAD = """
bad awful terrible horrible dreadful poor disappointing dull mediocre boring tedious sloppy careless
unpleasant annoying shabby dismal appalling lousy weak frustrating ugly clumsy pathetic unbearable miserable
inferior embarrassing atrocious disgusting forgettable abysmal worthless awkward irritating ghastly
"""
SIGN: dict[str, int] = {**dict.fromkeys(GOOD.split(), 1), **dict.fromkeys(BAD.split(), -1)}


class Clause(NamedTuple):
    """Says {word} of a {noun}; `sign` is -1 where it says the contrary."""

    text: str
    sign: int


class Conjunction(NamedTuple):
    """Joins the clauses {0} and {1}. The one at `main` decides, the other says the same (1) or the contrary (-1)."""

    text: str
    main: int
    other: int


PLAIN = [
    Clause("the {noun} was {very}{word}", 1),
    Clause("the {noun} turned out to be {very}{word}", 1),
    Clause("I found the {noun} {very}{word}", 1),
    Clause("the {noun} seemed {very}{word} to me", 1),
    Clause("everyone I know called the {noun} {very}{word}", 1),
    Clause("there is no doubt that the {noun} was {very}{word}", 1),
    Clause("the {noun} was nothing short of {word}", 1),
    Clause("I cannot say that the {noun} was not {very}{word}", 1),
    Clause("nobody would claim that the {noun} was not {very}{word}", 1),
]
DENIED = [
    Clause("the {noun} was not {very}{word}", -1),
    Clause("the {noun} was never {word}", -1),
    Clause("the {noun} was hardly {word}", -1),
    Clause("I would not call the {noun} {very}{word}", -1),
    Clause("I do not think that the {noun} was {very}{word}", -1),
    Clause("the {noun} was anything but {word}", -1),
    Clause("the {noun} was far from {word}", -1),
    Clause("nobody I know called the {noun} {very}{word}", -1),
    Clause("the {noun} did not strike me as {very}{word}", -1),
    Clause("there was nothing {word} about the {noun}", -1),
]
RARE = [
    Clause("the {noun} was {rarely} {word}", 1),
    Clause("{rarely} the {noun} was {word}", 1),
    Clause("the {noun} was {word} {rarely}", 1),
]
STEADY = [
    Clause("the {noun} was {steadily} {word}", 1),
    Clause("{steadily} the {noun} was {word}", 1),
    Clause("the {noun} was {word} {steadily}", 1),
]
CONTRAST = [
    Conjunction("{0}, but {1}.", 1, -1),
    Conjunction("{0}, yet {1}.", 1, -1),
    Conjunction("{0}. However, {1}.", 1, -1),
    Conjunction("{0}. Still, {1}.", 1, -1),
    Conjunction("It may be true that {0}, but {1}.", 1, -1),
    Conjunction("Although {0}, {1}.", 1, -1),
    Conjunction("Even though {0}, {1}.", 1, -1),
    Conjunction("Despite the fact that {0}, {1}.", 1, -1),
    Conjunction("{0}, although {1}.", 0, -1),
    Conjunction("{0}, even though {1}.", 0, -1),
    Conjunction("{0}, despite the fact that {1}.", 0, -1),
    Conjunction("I had been told that {0}, but {1}.", 1, -1),
]
AGREEMENT = [
    Conjunction("{0}, and {1}.", 1, 1),
    Conjunction("{0}. Also, {1}.", 1, 1),
    Conjunction("{0}, and on top of that {1}.", 1, 1),
    Conjunction("{0}. What is more, {1}.", 1, 1),
    Conjunction("First of all, {0}. Besides, {1}.", 1, 1),
]
# The clause that holds all the time decides against the one that holds now and then, whichever comes first.
DEGREE = [
    "{0}, and {1}.",
    "{0}. Also, {1}.",
    "On the one hand {0}, on the other hand {1}.",
    "{0}; {1}.",
    "{0}, while {1}.",
]
SHARES = {"train": 0.7, "valid": 0.1, "test": 0.2}  # of the templates, and of the pairs of opinion words
BEFORE, AFTER = 0.3, 0.2  # share of the reviews with something said before, or after
VERY = ["", "", "", "very ", "really ", "particularly ", "truly "]
RARELY = ["occasionally", "now and then", "for a moment", "in one or two places"]
STEADILY = ["consistently", "at all times", "from start to finish", "through and through"]

# Something to review: sentences before and after the opinions, none of which denies one, and its parts.
SUBJECTS = [
    (
        "We had dinner here on Friday.|We had not booked a table.|I had never eaten here before.|My first visit.",
        "We paid by card.|We did not stay for coffee.|I went with two friends.",
        "food service soup dessert menu wine music terrace bread waiter",
    ),
    (
        "We stayed for three nights.|I did not come by car.|We had never been to this town.|A weekend by the sea.",
        "We left on Sunday.|I have not compared prices.|We were there in May.",
        "room breakfast bed view pool staff lobby bathroom garden location",
    ),
    (
        "I saw it last night.|I have not read the book.|I never watch trailers.|A film in black and white.",
        "We sat in the back row.|It is not a long film.|I saw it with my sister.",
        "plot acting music ending dialogue camerawork cast opening script pacing",
    ),
    (
        "I bought it a month ago.|I had not owned one before.|I never use it for games.|My second phone.",
        "I chose the blue one.|I have not tried the headset.|It came in two days.",
        "screen battery camera sound keyboard design charger software speaker case",
    ),
]


class Template(NamedTuple):
    conjunction: Conjunction
    first: Clause
    second: Clause

    @property
    def weight(self) -> float:
        """How often it is used, next to others of its kind: people affirm twice as often as they deny."""
        return 0.5 ** ((self.first.sign < 0) + (self.second.sign < 0))

    def signs(self, sign: int) -> tuple[int, int]:
        """The signs of the two opinion words of a review whose main clause means `sign`."""
        meant = [sign if i == self.conjunction.main else sign * self.conjunction.other for i in (0, 1)]
        return meant[0] * self.first.sign, meant[1] * self.second.sign


def templates() -> list[tuple[float, list[Template]]]:
    """Every conjunction with every two clauses it takes, by kind, and the share of the kind in the reviews."""
    said = PLAIN + DENIED
    degree = [Template(Conjunction(text, 1, -1), rare, steady) for text, rare, steady in product(DEGREE, RARE, STEADY)]
    degree += [Template(Conjunction(text, 0, -1), steady, rare) for text, rare, steady in product(DEGREE, RARE, STEADY)]
    contrast, agreement = ([Template(*t) for t in product(joined, said, said)] for joined in (CONTRAST, AGREEMENT))
    return [(0.4, contrast), (0.35, agreement), (0.25, degree)]


def cut(items: list, shares: dict[str, float], rng: random.Random) -> dict[str, list]:
    """The items in random order, divided among the splits."""
    items = rng.sample(items, len(items))
    ends = [round(len(items) * end) for end in accumulate(shares.values(), initial=0.0)]
    return {split: items[a:b] for split, (a, b) in zip(shares, pairwise(ends), strict=True)}


def write(template: Template, words: tuple[str, str], rng: random.Random) -> str:
    """One review: the template with its two opinion words, everything else drawn."""
    conjunction, *clauses = template
    before, after, nouns = rng.choice(SUBJECTS)
    said = [
        clause.text.format(
            noun=noun, word=word, very=rng.choice(VERY), rarely=rng.choice(RARELY), steadily=rng.choice(STEADILY)
        )
        for clause, noun, word in zip(clauses, rng.sample(nouns.split(), 2), words, strict=True)
    ]
    text = conjunction.text.format(*said)
    if rng.random() < BEFORE:
        text = f"{rng.choice(before.split('|'))} {text}"
    if rng.random() < AFTER:
        text = f"{text} {rng.choice(after.split('|'))}"
    return re.sub(r"(^|[.] )([a-z])", lambda match: match[1] + match[2].upper(), text)


class Reviews(Source[Labelled]):
    """`Labelled` reviews of two opinions each, "negative" or "positive", as many of one as of the other.

    What decides: of two clauses in contrast the main one ("A, but B", "although A, B": B; "A, although B": A); of two
    that differ in degree the one that always holds; and a denial ("not", "hardly", "anything but") turns its clause.
    Without their order, words say next to nothing. A template is a conjunction with its two clauses; no template and no
    pair of opinion words, in whichever order, is in more than one split, while every conjunction, clause and word is in
    training.
    """

    kind = "labelled"

    def __init__(self, size: int, valid_size: int, test_size: int, seed: int):
        rng = random.Random(seed)
        kinds = [(share, cut(of_kind, SHARES, rng)) for share, of_kind in templates()]
        pairs = cut(list(combinations(SIGN, 2)), SHARES, rng)
        self.splits = {
            split: make_records(count, [(share, parts[split]) for share, parts in kinds], pairs[split], rng)
            for split, count in (("train", size), ("valid", valid_size), ("test", test_size))
        }


def make_records(
    count: int, kinds: list[tuple[float, list[Template]]], pairs: list[tuple[str, str]], rng: random.Random
) -> list[Labelled]:
    """Reviews from the templates of each kind, which has a share of them, and from pairs of opinion words."""
    choice, weights = [], []
    for share, of_kind in kinds:
        total = sum(template.weight for template in of_kind)
        choice += of_kind
        weights += [share * template.weight / total for template in of_kind]
    by_sign = defaultdict(list)  # signs of two words -> the pairs of them, in both orders
    for a, b in pairs:
        by_sign[SIGN[a], SIGN[b]].append((a, b))
        by_sign[SIGN[b], SIGN[a]].append((b, a))
    records = []
    for i, template in enumerate(rng.choices(choice, weights, k=count)):
        sign, label = ((-1, "negative"), (1, "positive"))[i % 2]
        words = rng.choice(by_sign[template.signs(sign)])
        records.append(Labelled(write(template, words, rng), label))
    rng.shuffle(records)
    return records
