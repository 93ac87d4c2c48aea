"""Small drawn pictures of shapes, and sentences that group, count and relate what is in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from seqtrain.data.kinds import Described, Pictured, Source

SIDE = 32  # pixels
COLORS = {
    "red": (220, 40, 40),
    "green": (40, 180, 60),
    "blue": (50, 80, 220),
    "yellow": (230, 210, 50),
    "purple": (150, 60, 170),
    "white": (235, 235, 235),
}
SHAPES = {"circle": "circles", "square": "squares", "triangle": "triangles", "cross": "crosses"}
RADII = {"large": (5.0, 6.2), "small": (2.6, 3.6)}
COUNTS = {1: "a", 2: "two", 3: "three", 4: "four"}
SHARES = (0.3, 0.4, 0.2, 0.1)  # of the scenes of one object, two, three, four
AGAIN = 0.35  # probability that an object is of the kind of the one before
APART = 3.0  # pixels between the middles of two objects from left to right: which one is further left is clear
ROWS, COLUMNS = np.mgrid[0:SIDE, 0:SIDE]


class Thing(NamedTuple):
    size: str
    color: str
    shape: str
    x: float
    y: float
    radius: float

    @property
    def kind(self) -> tuple[str, str, str]:
        return self.size, self.color, self.shape

    def pixels(self) -> np.ndarray:
        """(H, W) which pixels it covers."""
        x, y, r = np.abs(COLUMNS - self.x), ROWS - self.y, self.radius
        if self.shape == "circle":
            return x**2 + y**2 <= r**2
        if self.shape == "square":
            return np.maximum(x, np.abs(y)) <= 0.9 * r
        if self.shape == "triangle":
            return (np.abs(y) <= 0.9 * r) & (x <= 0.55 * (y + r))
        return (np.minimum(x, np.abs(y)) <= 0.35 * r) & (np.maximum(x, np.abs(y)) <= r)


class Scenes(Source[Pictured | Described]):
    """Scenes of one to four objects and a sentence for each: equal objects are counted together, groups come from left
    to right, and of two objects it is said how one lies to the other."""

    kind = "pictures"

    def __init__(self, size: int, valid_size: int, test_size: int, seed: int):
        random = np.random.default_rng(seed)
        sizes = {"train": size, "valid": valid_size, "test": test_size}
        self.splits = {
            split: [self.record(random_things(random), random) for _ in range(n)] for split, n in sizes.items()
        }

    def record(self, scene: Sequence[Thing], random: np.random.Generator) -> Pictured | Described:
        return Pictured(drawn(scene, random), (sentence(scene),))


class SceneAttributes(Scenes):
    """The same scenes as lists of what is in them, from left to right."""

    kind = "attributes"

    def record(self, scene: Sequence[Thing], random: np.random.Generator) -> Pictured | Described:
        found = [f"{name} {i}[{value}]" for i, thing in enumerate(scene, 1) for name, value in attributes(thing)]
        return Described(", ".join(found), (sentence(scene),))


def attributes(thing: Thing) -> list[tuple[str, str]]:
    places = {"column": thing.x, "row": thing.y}
    return [
        ("size", thing.size),
        ("color", thing.color),
        ("shape", thing.shape),
        *((name, str(round(place))) for name, place in places.items()),
    ]


def random_things(random: np.random.Generator) -> list[Thing]:
    """Objects that do not touch, from left to right."""
    count = 1 + int(random.choice(4, p=SHARES))
    found: list[Thing] = []
    while len(found) < count:
        kind = found[-1].kind if found and random.random() < AGAIN else new_kind(random)
        radius = random.uniform(*RADII[kind[0]])
        x, y = random.uniform(radius, SIDE - 1 - radius, 2)
        clear = all(
            np.hypot(x - other.x, y - other.y) > radius + other.radius + 1 and abs(x - other.x) >= APART
            for other in found
        )
        if clear:
            found.append(Thing(*kind, float(x), float(y), float(radius)))
        elif random.random() < 0.1:  # there may be no room left
            found.clear()
    return sorted(found, key=lambda thing: thing.x)


def new_kind(random: np.random.Generator) -> tuple[str, str, str]:
    size = "large" if random.random() < 0.4 else "small"
    return size, [*COLORS][random.integers(len(COLORS))], [*SHAPES][random.integers(len(SHAPES))]


def drawn(scene: Sequence[Thing], random: np.random.Generator) -> np.ndarray:
    """(H, W, 3) uint8: the objects on a dark ground, in colours that vary, with noise over all."""
    picture = np.full((SIDE, SIDE, 3), random.uniform(20, 90)) + random.normal(0, 8, 3)
    for thing in scene:
        picture[thing.pixels()] = np.array(COLORS[thing.color]) + random.normal(0, 12, 3)
    return np.clip(picture + random.normal(0, 8, picture.shape), 0, 255).astype(np.uint8)


def sentence(scene: Sequence[Thing]) -> str:
    counts: dict[tuple[str, str, str], int] = {}
    for thing in scene:
        counts[thing.kind] = counts.get(thing.kind, 0) + 1
    groups = [
        f"{COUNTS[n]} {size} {color} {SHAPES[shape] if n > 1 else shape}" for (size, color, shape), n in counts.items()
    ]
    if len(scene) == 2 and len(groups) == 2:
        across, down = scene[1].x - scene[0].x, scene[1].y - scene[0].y
        place = "left of" if across > abs(down) else "above" if down > 0 else "below"
        return f"{groups[0]} {place} {groups[1]}"
    return " and ".join([", ".join(groups[:-1]), groups[-1]] if len(groups) > 1 else groups)
