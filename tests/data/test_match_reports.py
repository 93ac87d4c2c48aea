import re

import pytest

from seqtrain.data.kinds import Pair
from seqtrain.data.match_reports import EVENTS, TIMES, MatchReports

SIDES = re.compile(r"(\w+) (?:beat|draw with) (\w+) (\d)-(\d)")


@pytest.fixture(scope="module")
def reports() -> dict[str, list[Pair]]:
    data = MatchReports(400, 100, 100, seed=1)
    return {split: list(data.read(split)) for split in ("train", "valid", "test")}


def counted(pair: Pair) -> str:
    """The summary of a report, by reading it."""
    patterns = {
        kind: [re.sub(r"\\{(\w+)\\}", r"(?P<\1>[\\w ]+?)", re.escape(text)) for text in texts]
        for kind, texts in EVENTS.items()
    }
    first, *sentences = re.split(r"(?<=\.) ", pair.source)
    a, b = SIDES.match(pair.target).groups()[:2]
    home = (
        a
        if (first.index(a) < first.index(b))
        != first.startswith((f"{a} travelled", f"{b} travelled", f"{a} came", f"{b} came"))
        else b
    )
    away = b if home == a else a
    goals, scorers, gone = {home: 0, away: 0}, {}, []
    for sentence in sentences:
        for kind, pattern in ((kind, pattern) for kind, some in patterns.items() for pattern in some):
            if found := re.fullmatch(pattern, sentence, re.I):
                said = found.groupdict()
                if kind == "goal":
                    side = {"the hosts": home, "the visitors": away}.get(said["side"].lower(), said["side"])
                    goals[side] += 1
                    scorers[said["player"]] = scorers.get(said["player"], 0) + 1
                if kind == "dismissal":
                    gone.append(said["player"])
    won, lost = (home, away) if goals[home] >= goals[away] else (away, home)
    text = f"{won} {'draw with' if goals[won] == goals[lost] else 'beat'} {lost} {goals[won]}-{goals[lost]}"
    most = [name for name, count in scorers.items() if count == max(scorers.values())]
    if len(most) == 1 and scorers[most[0]] > 1:
        text += f", {most[0]} scores {TIMES[scorers[most[0]]]}"
    return text + "".join(f", {name} sent off" for name in gone)


def test_a_summary_says_what_stands_in_the_report(reports: dict[str, list[Pair]]):
    for pair in reports["test"]:
        assert counted(pair) == pair.target


def test_splits_share_no_name(reports: dict[str, list[Pair]]):
    names = {
        split: {name for pair in some for name in SIDES.match(pair.target).groups()[:2]}
        for split, some in reports.items()
    }
    names |= {
        f"{split} players": {name for pair in some for name in re.findall(r", (\w+) (?:scores|sent)", pair.target)}
        for split, some in reports.items()
    }
    assert all(names.values())
    assert sum(map(len, names.values())) == len(set.union(*names.values()))


def test_the_seed_decides():
    first, again, other = (MatchReports(5, 2, 2, seed).read("train") for seed in (1, 1, 2))
    assert first == again != other
