import json
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqtrain.codecs.text import BEGIN, END, SPECIALS, UNKNOWN, Vocabulary, fit, load
from seqtrain.codecs.words import words
from seqtrain.config import UserError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
LIKELY = st.lists(st.sampled_from(["a", "don't", "तीन", "7", ".", ",", "(", '"', "日", "é", "e\u0301", " ", "\n"]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("तीन पाँच शून्य", ["तीन", "पाँच", "शून्य"]),
        ("cafe\u0301s", ["cafe\u0301s"]),
        ("क्\u200dष", ["क्\u200dष"]),  # a joiner
        ("می\u200cخواهم", ["می\u200cخواهم"]),
        ("日本へ行く", ["日", "本", "へ", "行", "く"]),
        ("データ", ["データ"]),
        ("한국어 글", ["한국어", "글"]),
        ("กินข้าว", ["กิ", "น", "ข้", "า", "ว"]),
        ("ok 👩‍👩‍👧🇩🇪!", ["ok", "👩‍👩‍👧", "🇩🇪", "!"]),
        ("Don't it’s 3.5 a_b", ["Don't", "it’s", "3", ".", "5", "a_b"]),
        ("\u0301x", ["\u0301", "x"]),
        (" \n", []),
    ],
)
def test_words_are_not_cut_within_a_grapheme(text: str, expected: list[str]):
    assert list(words(text)) == expected


@settings(deadline=None, max_examples=300)
@given(st.lists(TEXT | LIKELY.map("".join), max_size=5), st.booleans(), st.booleans())
def test_every_training_text_is_joined_again_as_it_was(texts: list[str], lowercase: bool, nfc: bool):
    tokenizer = fit(texts, "word", lowercase, nfc, min_count=1, vocab_size=300)
    tokenizer = load(json.loads(json.dumps(tokenizer.state())))
    for text in texts:
        ids = tokenizer.encode(text)
        assert UNKNOWN not in ids
        assert tokenizer.decode([BEGIN, *ids, END]) == tokenizer.normalized(text)
        assert len(tokenizer.split(text)) == len(ids)


def test_usual_spaces_are_no_items():
    texts = ['The clock (red), costs 7.50; "old" ones 3.', "Why? It's well-known: 1,000 of 2."] * 3
    tokenizer = Vocabulary.fit(texts, "word")
    assert tokenizer.split(texts[1]) == ["Why", "?", "It's", "well", "-", "known", ":", "1", ",", "000", "of", "2", "."]
    assert tokenizer.decode(tokenizer.encode("old-well (known); 2,50.")) == "old-well (known); 2,50."
    assert tokenizer.decode(tokenizer.encode("The new clock?")) == "The <unk> clock?"
    chinese = Vocabulary.fit(["我有七本书。", "我 有"] * 2, "word")
    assert chinese.split("七本书。") == ["七", "本", "书", "。"]
    assert chinese.split("七 本") == ["七", " ", "本"]


def test_an_unusual_space_that_was_not_seen_is_left_out():
    tokenizer = Vocabulary.fit(["a b", "a, b"], "word")
    assert tokenizer.items == [*SPECIALS, "a", "b", ","]
    assert tokenizer.decode(tokenizer.encode("a ,\tb")) == "a, b"


def test_where_no_text_comes_out_there_are_no_spaces():
    texts = ["a b", "a b", "a  b"]
    assert "  " in Vocabulary.fit(texts, "word").items
    assert Vocabulary.fit(texts, "word", spaces=False).items == [*SPECIALS, "a", "b"]


@pytest.mark.parametrize("unit", ["word", "char"])
def test_a_prompt_goes_on_with_its_own_spaces(unit: str):
    tokenizer = fit(["The clock, red.", "The  clock"] * 3, unit, False, False, min_count=1, vocab_size=300)
    for prompt, more in [
        ("The", " clock, red."),
        ("Die", " clock"),
        ("The  ", "clock"),
        ("", "The clock"),
        ("The ", ""),
    ]:
        ids = tokenizer.encode(prompt + more)[len(tokenizer.encode(prompt)) :]
        assert tokenizer.continued(prompt, ids) == prompt + more


@pytest.mark.parametrize("unit", ["word", "char", "bpe", "unigram"])
def test_accents_are_composed_on_request(unit: str):
    texts = ["café é", "cafe\u0301 e\u0301"] * 5
    assert texts[0] == unicodedata.normalize("NFC", texts[1])
    apart = fit(texts, unit, False, False, min_count=1, vocab_size=300)
    composed = fit(texts, unit, False, True, min_count=1, vocab_size=300)
    assert apart.encode(texts[0]) != apart.encode(texts[1])
    assert composed.encode(texts[0]) == composed.encode(texts[1])
    assert composed.decode(composed.encode(texts[1])) == texts[0]


def test_words_of_older_runs_are_refused_and_their_characters_loaded():
    old = {"lowercase": False, "items": [*SPECIALS, "a", "b"]}
    assert load({"unit": "char", **old}).encode("ba") == [5, 4]
    with pytest.raises(UserError, match="train it again"):
        load({"unit": "word", **old})
    with pytest.raises(ValueError, match="a space between words is none"):
        load({"unit": "word", "nfc": False, "usual": [["a", "a", "x"]], **old})
    with pytest.raises(ValueError, match="not enough values"):
        load({"unit": "word", "nfc": False, "usual": [["a", "b"]], **old})
