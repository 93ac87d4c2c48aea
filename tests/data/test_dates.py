import datetime
from collections import defaultdict

import pytest
from babel import Locale
from babel.dates import format_date

from seqtrain.config import UserError
from seqtrain.data.dates import Dates, clear, date_patterns

LANGUAGES: str = "en_US en_GB de nl sv fr es pt it pl cs ru el fi hu tr ar he hi vi ja ko"


def make(seed: int = 1) -> Dates:
    return Dates(
        LANGUAGES.split(), first_year=1900, last_year=2099, size=2000, valid_size=100, test_size=100, seed=seed
    )


def test_is_deterministic_and_depends_on_the_seed():
    assert make().splits == make().splits
    assert make(2).splits != make().splits


def test_splits_have_their_sizes_and_share_no_date():
    data = make()
    records = [record for split in ("train", "valid", "test") for record in data.read(split)]
    assert [len(data.read(split)) for split in ("train", "valid", "test")] == [2000, 100, 100]
    assert len({record.target for record in records}) == len(records)
    assert all(datetime.date.fromisoformat(record.target).isoformat() == record.target for record in records)


def test_patterns_whose_order_nobody_can_know_are_left_out():
    assert not clear("M/d/y")
    assert not clear("E, M/d/y")
    assert not clear("dd/MM/yy")
    assert not clear("MMM d")
    assert clear("MMM d, y")
    assert clear("d. M. y")
    assert clear("d 'de' MMMM 'de' y")
    assert clear("y/M/d")


def test_no_source_of_any_language_and_pattern_means_two_dates():
    """The year is in every source in full: only days of one year can collide, and years of one calendar are alike."""
    calendars = {}
    for year in range(2000, 2028):
        first, last = datetime.date(year, 1, 1), datetime.date(year, 12, 31)
        calendars.setdefault(
            (first.weekday(), (last - first).days), [first + datetime.timedelta(i) for i in range(366)]
        )
    assert len(calendars) == 14
    meanings = defaultdict(set)
    for language in LANGUAGES.split():
        locale = Locale.parse(language)
        for pattern in date_patterns(locale):
            weekday = "E" in pattern or "c" in pattern
            for (_, days), dates in calendars.items() if weekday else [((0, 365), calendars[5, 365])]:
                for date in dates[: days + 1]:
                    source = format_date(date, pattern, locale)
                    assert str(date.year) in source
                    meanings[source.replace(str(date.year), "year")].add((date.month, date.day))
    assert {source: found for source, found in meanings.items() if len(found) > 1} == {}


def test_too_many_dates_and_unknown_splits_are_refused():
    with pytest.raises(UserError, match="2000 to 2000 have 366"):
        Dates(["de"], first_year=2000, last_year=2000, size=366, valid_size=1, test_size=1, seed=1)
    with pytest.raises(UserError, match="Babel knows no 'dee'"):
        Dates(["dee"], first_year=2000, last_year=2000, size=1, valid_size=1, test_size=1, seed=1)
    with pytest.raises(ValueError, match="train, valid, test, not dev"):
        make().read("dev")
