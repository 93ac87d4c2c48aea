"""Writes the files that README.md uses as a user's own: python scripts/own_files.py [FOLDER]

tickets.csv: support messages of five topics. numbers.tsv: numbers in words and in digits. notes/: a folder of text,
from the documentation inside Python. sales.csv: daily sales of three shops, with gaps. recent.csv: the last weeks of
them, and the days to forecast, of which only the holidays are known.
"""

from __future__ import annotations

import csv
import datetime
import math
import random
import re
import sys
from pathlib import Path

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


def write(folder: Path) -> None:
    draw = random.Random(4)
    (folder / "notes").mkdir(parents=True, exist_ok=True)
    with (folder / "tickets.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("message", "topic"), *(ticket(draw) for _ in range(600))])
    with (folder / "numbers.tsv").open("w", encoding="utf-8") as file:
        file.write("words\tdigits\n")
        file.writelines(f"{words(number)}\t{number}\n" for number in draw.sample(range(10_000), 2000))
    shops, head = sales(draw).values(), ["day", "shop", "sales", "visitors", "holiday"]
    known = [row for rows in shops for row in rows[:-AHEAD]]
    ahead = [[day, shop, "", "", holiday] for rows in shops for day, shop, _, _, holiday in rows[-AHEAD:]]
    recent = [row for rows in shops for row in rows[-AHEAD - 60 : -AHEAD]] + ahead
    for name, rows in (("sales.csv", known), ("recent.csv", recent)):
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([head, *rows])
    from pydoc_data.topics import topics

    for name, text in sorted(topics.items(), key=lambda item: -len(item[1]))[:40]:
        place = folder / "notes" / f"{re.sub(r'[^a-z]', '_', name.lower())}.txt"
        place.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
