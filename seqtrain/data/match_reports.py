"""Reports of matches and their summaries, which need counting, comparing, and copying of names."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, pairwise, product

from seqtrain.data.kinds import Pair, Source

BEGINNINGS = """\
{home} welcomed {away} on a cold evening.
{away} travelled to {home} with a young side.
A full stadium saw {home} receive {away}.
{home} were at home to {away} for the first time in years.
Rain fell all day before {home} played host to {away}.
{away} came to {home} without their captain.
""".splitlines()
GOALS = """\
{player} scored for {side} in minute {minute}.
After {minute} minutes {player} headed in for {side}.
{side} struck through {player} ({minute}).
In minute {minute} a shot by {player} gave {side} a goal.
{player} converted a penalty for {side} after {minute} minutes.
A pass in minute {minute} found {player}, and {side} had scored.
Minute {minute}: {player} curled a free kick into the net for {side}.
{side} celebrated in minute {minute}, when {player} tapped in.
""".splitlines()
OTHERS = """\
{player} hit the post after {minute} minutes.
{minute} minutes in, {player} missed from close range for {side}.
A goal by {player} for {side} was ruled out for offside in minute {minute}.
{player} saw yellow in minute {minute}.
In minute {minute} the goalkeeper denied {player}.
{side} lost {player} to an injury after {minute} minutes.
{player} fired over the bar in minute {minute}.
A corner in minute {minute} brought {side} nothing.
""".splitlines()
DISMISSALS = """\
{player} was sent off in minute {minute}.
After {minute} minutes {player} saw red for a late tackle.
Minute {minute}: a second yellow card, and {player} had to leave.
""".splitlines()
ENDS = """\
The crowd went home wet.
The referee had a quiet night.
Both coaches spoke of a fair game.
The next round is in two weeks.
Nobody was in a hurry to leave.
It was a match with few fouls.
""".splitlines()
EVENTS = {"goal": GOALS, "other": OTHERS, "dismissal": DISMISSALS}
TIMES = {2: "twice", 3: "three times", 4: "four times", 5: "five times", 6: "six times"}
LAST = 89  # minute
# What names are coined of: towns of a beginning and an end, players of three parts.
TOWNS = (
    "Al An Bar Bel Bren Cal Cor Dal Dor El Fal Gar Gil Hal Hol Ing Kal Ker Lan Lim Lor Mal Mar Mel Nor Os Pel Por "
    "Ral Ros Sal Sel Stav Tal Tor Ul Val Ver Wes Zel",
    "aby anda berg borg bridge burg by dale dorf ento feld ford gate ham haven hem holm ia ica ina ley mark mont mouth "
    "nica ona port ra rup stad stedt stein tal ton vik ville wick wold",
)
PLAYERS = (
    "A Ba Be Bo Da De Do E Fa Fe Ga Go Ha He I Ja Jo Ka Ke Ko La Le Lo Ma Me Mo Na Ne No O Pa Pe Ra Re Ro Sa Se So Ta "
    "Te To U Va Ve Wa Ya Za",
    "ba bri da de do ga gi go ka ki ko la li lo lu ma mi mo na ni no pe ra ri ro sa si so ta ti to va vi za",
    "ch d l ll n nd ne ni ns r rd res ric rin rov s sen ski son ss t tti v vic x z",
)
SHARES = {"train": 0.8, "valid": 0.1, "test": 0.1}  # of the names


class MatchReports(Source[Pair]):
    """`Pair`s of the report of a match and its summary: who won, by how many goals, who scored most if more than once,
    and who was sent off.

    The first sentence names the hosts and the visitors; not every chance is a goal. The names of towns and players
    are coined, and no split has a name of another.
    """

    kind = "pairs"

    def __init__(self, size: int, valid_size: int, test_size: int, seed: int):
        rng = random.Random(seed)
        towns, players = divided(TOWNS, rng), divided(PLAYERS, rng)
        self.splits = {
            split: [report(towns[split], players[split], rng) for _ in range(count)]
            for split, count in (("train", size), ("valid", valid_size), ("test", test_size))
        }


def divided(parts: Sequence[str], rng: random.Random) -> dict[str, list[str]]:
    """All names that can be made of the parts, in random order, divided among the splits."""
    names = ["".join(name) for name in product(*(part.split() for part in parts))]
    rng.shuffle(names)
    ends = [round(end * len(names)) for end in accumulate(SHARES.values(), initial=0.0)]
    return {split: names[a:b] for split, (a, b) in zip(SHARES, pairwise(ends), strict=True)}


def report(towns: Sequence[str], players: Sequence[str], rng: random.Random) -> Pair:
    """A match of two of the towns, written down minute by minute."""
    sides = rng.sample(towns, 2)
    squads = [rng.sample(players, 4) for _ in sides]
    goals, scorers, dismissed = [0, 0], Counter[str](), ""
    text = [rng.choice(BEGINNINGS).format(home=sides[0], away=sides[1])]
    for minute in sorted(rng.sample(range(2, LAST), rng.randint(2, 6))):
        side = rng.randrange(2)
        player = squads[side][min(rng.randrange(4), rng.randrange(4))]  # the first ones are seen most
        kind = rng.choices([*EVENTS], (0.6, 0.34, 0.06 * (not dismissed)))[0]
        if kind == "goal":
            goals[side] += 1
            scorers[player] += 1
        elif kind == "dismissal":
            dismissed = player
        sentence = rng.choice(EVENTS[kind])
        sentence = sentence.format(player=player, side=("the hosts", "the visitors")[side], minute=minute)
        text.append(sentence[0].upper() + sentence[1:])
    text.append(rng.choice(ENDS))
    return Pair(" ".join(text), summary(sides, goals, scorers, dismissed))


def summary(sides: Sequence[str], goals: Sequence[int], scorers: Counter[str], dismissed: str) -> str:
    """Who won, or that nobody did; who scored most if that was more than once and more than anybody else; who was sent
    off."""
    a, b = (0, 1) if goals[0] >= goals[1] else (1, 0)
    text = f"{sides[a]} {'beat' if goals[a] > goals[b] else 'draw with'} {sides[b]} {goals[a]}-{goals[b]}"
    most = scorers.most_common(2)
    if most and most[0][1] > 1 and (len(most) == 1 or most[0][1] > most[1][1]):
        text += f", {most[0][0]} scores {TIMES[most[0][1]]}"
    return f"{text}, {dismissed} sent off" if dismissed else text
