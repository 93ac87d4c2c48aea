"""Writes the files that the docs use as a user's own: python scripts/own_files.py [FOLDER]

tickets.csv: support messages of five topics. numbers.tsv: numbers in words and in digits. shards/: more of them, in
twelve files, with shards_valid.jsonl and shards_test.jsonl. orders.conll: orders of food,
a token and its tag a line. notes/: a folder of text, from the documentation inside Python; sections/, titles/: parts of
it, and their titles. sales.csv: daily sales of three shops, with gaps. recent.csv: the last weeks of them, and the days
to forecast, of which only the holidays are known. tunes.abc: tunes in ABC notation.
tunes/: the same as MIDI files. pictures/: drawn scenes, and a table of their captions.
handwriting/: strings of digits as strokes and as images, and tables of their texts.
"""

from __future__ import annotations

import csv
import datetime
import gzip
import json
import math
import random
import re
import sys
from pathlib import Path
from typing import Any

TOPICS = {
    "billing": (
        "I was charged twice for {}|Please refund {}|The invoice for {} is wrong|Why did the price of {} go up?",
        "the yearly plan|order {n}|the premium account|two seats",
    ),
    "delivery": (
        "My parcel with {} has not arrived|The courier left {} at the wrong door|Where is {}?|{} came damaged",
        "the lamp|order {n}|the blue chair|both tables",
    ),
    "login": (
        "I cannot sign in to {}|The password mail for {} does not come|{} says my account is locked|I am out of {}",
        "the app|the website|account {n}|the portal",
    ),
    "bug": (
        "{} crashes when I open it|After the update {} shows an error|{} freezes|{} does not save my changes",
        "the app|the editor|version {n}|the calendar",
    ),
    "praise": (
        "Thank you, {} is wonderful|I love {}|Great work on {}|{} made my day",
        "the new design|your support|version {n}|the app",
    ),
}
ENDS = ("", ".", "!", " Please help.", ' I asked before, "nobody" answered.')
SMALL = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
SMALL += ["eleven", "twelve", *(f"{stem}teen" for stem in ("thir", "four", "fif", "six", "seven", "eigh", "nine"))]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]

ORDERS = (
    "please bring {} and {} to {}|{} for {} please|i would like {} , and {} , by {}|can {} get {} at {} ?|"
    "{} to {} , not to {} !|two minutes ago {} ordered {}"
)
COUNTS = ["one", "two", "three", "four", "a", "ten", "twelve", "2", "3", "20"]
DISHES = "pizza|noodle soup|green salad|ten inch pizza|lentil curry|apple pie|spring rolls|house salad|two cheese pie"
STREETS = "Mill Lane|High Street|Salad Row|Two Bridges Road|Curry Street|Station Road|Pie Corner"
PEOPLE = "Ada|Mr Green|Noor Mill|Ms Ten Broek|Jo Station|Kim"

DAYS, AHEAD = 730, 14


def words(number: int) -> str:
    """A number below ten thousand in English."""
    if number < 20:
        return SMALL[number]
    for size, name in ((1000, "thousand"), (100, "hundred")):
        if number >= size:
            rest = f" {words(number % size)}" if number % size else ""
            return f"{words(number // size)} {name}{rest}"
    return TENS[number // 10 - 2] + (f"-{SMALL[number % 10]}" if number % 10 else "")


def ticket(draw: random.Random) -> tuple[str, str]:
    topic = draw.choice(list(TOPICS))
    frames, things = (part.split("|") for part in TOPICS[topic])
    thing = draw.choice(things).format(n=draw.randint(10, 9999))
    text = draw.choice(frames).format(thing) + draw.choice(ENDS)
    return text[0].upper() + text[1:], topic


def order(draw: random.Random) -> str:
    """An order in lines of a token and its tag."""
    rows = []
    for word in draw.choice(ORDERS.split("|")).split():
        count, number = draw.choice(COUNTS), str(draw.randint(1, 99))
        kind, text, before = draw.choice(
            [
                ("ITEM", draw.choice(DISHES.split("|")), [f"{count} B-COUNT"]),
                ("PLACE", f"{number} {draw.choice(STREETS.split('|'))}", []),
                ("NAME", draw.choice(PEOPLE.split("|")), []),
            ]
        )
        first, *others = text.split()
        span = [*before, f"{first} B-{kind}", *(f"{other} I-{kind}" for other in others)]
        rows += span if word == "{}" else [f"{word} O"]
    return "\n".join(rows)


def sales(draw: random.Random) -> dict[str, list[list[object]]]:
    """Two years and two weeks a shop: a weekly season, holidays known ahead, visitors known afterwards; days and values
    missing."""
    rows: dict[str, list[list[object]]] = {}
    for shop, level in (("north", 20), ("south", 35), ("harbour", 12)):
        rows[shop] = []
        for n in range(DAYS + AHEAD):
            day = datetime.date(2022, 1, 1) + datetime.timedelta(n)
            holiday = int((day.month, day.day) in {(1, 1), (5, 1), (10, 3), (12, 25), (12, 26)})
            weekend = 1.6 if day.weekday() >= 5 else 1.0
            sold = level * weekend * (1 + 0.3 * math.sin(2 * math.pi * n / 365)) * (0.2 if holiday else 1)
            sold *= draw.gauss(1, 0.08)
            visitors = round(3 * sold * draw.gauss(1, 0.1))
            closed = shop == "harbour" and 400 <= n < 410
            if not closed:
                rows[shop].append([day, shop, "" if draw.random() < 0.01 else round(sold, 2), visitors, holiday])
    return rows


def tune(draw: random.Random, number: int) -> tuple[str, list[tuple[int, int]]]:
    """A tune of eight bars, the last four like the first: as ABC, and as MIDI numbers with their lengths in eighths."""
    letters, pitches = "GABcdefg", (67, 69, 71, 72, 74, 76, 78, 79)
    bars, place = list[list[tuple[int, int]]](), draw.choice((0, 2, 4))
    for _ in range(4):
        bar: list[tuple[int, int]] = []
        for length in draw.choice(((1,) * 8, (2, 1, 1) * 2, (1, 1, 2) * 2, (2, 2, 2, 2))):
            place = min(7, max(0, place + draw.choice((-2, -1, -1, 1, 1, 2))))
            bar.append((place, length))
        bars.append(bar)
    bars = [*bars, *bars[:3], [(0, 8)]]
    text = "|".join("".join(f"{letters[place]}{length if length > 1 else ''}" for place, length in bar) for bar in bars)
    notes = [(pitches[place], length) for bar in bars for place, length in bar]
    return f"X:{number}\nT:Tune {number}\nM:4/4\nL:1/8\nK:G\n{text}|]\n", notes


def midi(notes: list[tuple[int, int]]) -> bytes:
    """Notes, one after the other, as a MIDI file with 96 ticks in a quarter note."""
    events = [
        bytes((0, 0x90, pitch, 80, 48 * length >> 7 | 0x80, 48 * length & 0x7F, 0x80, pitch, 0))
        for pitch, length in notes
    ]
    track = b"".join(events) + b"\0\xff\x2f\0"
    return b"MThd\0\0\0\6\0\0\0\1\0\x60MTrk" + len(track).to_bytes(4) + track


def draw_pictures(folder: Path) -> None:
    """Pictures of several sizes."""
    from PIL import Image

    from seqtrain.data.scenes import Scenes

    folder.mkdir(exist_ok=True)
    rows = [("picture", "caption")]
    scenes: Any = Scenes(40, 1, 1, seed=3).read("train")
    for number, (picture, captions) in enumerate(scenes):
        name = f"picture{number}.{'jpg' if number % 2 else 'png'}"
        Image.fromarray(picture).resize((64 + number, 64)).save(folder / name)
        rows += [(name, caption) for caption in (*captions, f"there is {captions[0]}")]
    with (folder / "captions.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def write_lines(folder: Path) -> None:
    """Lines of one to four digits, as InkML and JSON in turn, and as PNG and JPEG."""
    import numpy as np
    from PIL import Image

    from seqtrain.codecs.line_image import drawn
    from seqtrain.data.pen_digits import PenDigits

    folder.mkdir(exist_ok=True)
    strokes, images = [("path", "text")], [("path", "text")]
    records: Any = PenDigits(1, 4, 300, seed=5).read("train")
    for number, (ink, text) in enumerate(records):
        lines = [np.rint(stroke).astype(int).tolist() for stroke in ink.strokes]
        traces = "\n".join(f"  <trace>{', '.join(f'{x} {y}' for x, y in line)}</trace>" for line in lines)
        name, content = (f"{number:03}.inkml", f'<ink xmlns="http://www.w3.org/2003/InkML">\n{traces}\n</ink>')
        if number % 2:
            name, content = f"{number:03}.json", str(lines)
        (folder / name).write_text(f"{content}\n", encoding="utf-8")
        image = f"{number:03}.{'jpg' if number % 2 else 'png'}"
        Image.fromarray(255 - drawn(ink, 32)).save(folder / image)
        strokes, images = [*strokes, (name, text)], [*images, (image, text)]
    for table, rows in (("strokes", strokes), ("images", images)):
        with (folder / f"{table}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)


def write_shards(folder: Path) -> None:
    """Numbers in words and in digits, in files of which the training ones are gzipped."""
    numbers = random.Random(5).sample(range(10_000), 5000)
    lines = [json.dumps({"words": words(number), "digits": str(number)}) for number in numbers]
    (folder / "shards").mkdir(exist_ok=True)
    for shard in range(12):
        content = "".join(f"{line}\n" for line in lines[200:][shard::12])
        (folder / "shards" / f"{shard:02}.jsonl.gz").write_bytes(gzip.compress(content.encode(), mtime=0))
    for split, some in {"valid": lines[:100], "test": lines[100:200]}.items():
        (folder / f"shards_{split}.jsonl").write_text("".join(f"{line}\n" for line in some), encoding="utf-8")


def write(folder: Path) -> None:
    draw = random.Random(4)
    (folder / "notes").mkdir(parents=True, exist_ok=True)
    with (folder / "tickets.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("message", "topic"), *(ticket(draw) for _ in range(600))])
    with (folder / "numbers.tsv").open("w", encoding="utf-8") as file:
        file.write("words\tdigits\n")
        file.writelines(f"{words(number)}\t{number}\n" for number in draw.sample(range(10_000), 2000))
    write_shards(folder)
    orders = "\n\n".join(order(draw) for _ in range(800))
    (folder / "orders.conll").write_text(f"{orders}\n", encoding="utf-8")
    shops, head = sales(draw).values(), ["day", "shop", "sales", "visitors", "holiday"]
    known = [row for rows in shops for row in rows[:-AHEAD]]
    ahead = [[day, shop, "", "", holiday] for rows in shops for day, shop, _, _, holiday in rows[-AHEAD:]]
    recent = [row for rows in shops for row in rows[-AHEAD - 60 : -AHEAD]] + ahead
    for name, rows in (("sales.csv", known), ("recent.csv", recent)):
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([head, *rows])
    (folder / "tunes").mkdir(exist_ok=True)
    tunes = [tune(draw, number) for number in range(1, 61)]
    (folder / "tunes.abc").write_text("\n".join(text for text, _ in tunes), encoding="utf-8")
    for number, (_, notes) in enumerate(tunes, 1):
        (folder / "tunes" / f"{number:02}.mid").write_bytes(midi(notes))
    from pydoc_data.topics import topics

    for name, text in sorted(topics.items(), key=lambda item: -len(item[1]))[:40]:
        place = folder / "notes" / f"{re.sub(r'[^a-z]', '_', name.lower())}.txt"
        place.write_text(text, encoding="utf-8")
    draw_pictures(folder / "pictures")
    write_lines(folder / "handwriting")
    sections = re.findall(r"^([^\n]+)\n[*=~-]{4,}\n\n(.+?)\n\n", "\n\n".join(topics.values()), re.M | re.S)
    for name in ("sections", "titles"):
        (folder / name).mkdir(exist_ok=True)
    for number, (title, section) in enumerate(sections):
        (folder / "sections" / f"{number}.txt").write_text(section, encoding="utf-8")
        (folder / "titles" / f"{number}.txt").write_text(title, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
