import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqtrain.codecs.text import BEGIN, END, LONGEST, OLD_PIECES, PAD, SPECIALS, UNKNOWN, Vocabulary, fit, load

TEXTS = ["Don't stop, don't!", "Stop: it’s late"]


def test_the_most_frequent_items_come_first_and_equals_in_order():
    tokenizer = Vocabulary.fit(["bca", "ab", "a"], "char")
    assert tokenizer.items == [*SPECIALS, "a", "b", "c"]
    assert len(tokenizer) == 7
    assert (PAD, UNKNOWN, BEGIN, END) == (0, 1, 2, 3)
    assert tokenizer.encode("cab?") == [6, 4, 5, UNKNOWN]


def test_words_keep_their_apostrophes_and_signs_stand_alone():
    assert Vocabulary("word", False, False, ()).split(TEXTS[0]) == ["Don't", "stop", ",", "don't", "!"]
    assert Vocabulary("word", True, False, ()).split(TEXTS[1]) == ["stop", ":", "it’s", "late"]
    assert Vocabulary("word", False, False, ()).split(" größer 3.5 日本 \n") == ["größer", "3", ".", "5", "日", "本"]


@pytest.mark.parametrize(("min_count", "kept"), [(1, 7), (2, 2), (3, 0)])
def test_rare_items_are_unknown(min_count, kept):
    tokenizer = Vocabulary.fit(TEXTS, "word", lowercase=True, min_count=min_count)
    assert len(tokenizer) == len(SPECIALS) + kept
    assert tokenizer.encode("stop") == [UNKNOWN if kept == 0 else tokenizer.ids["stop"]]


def test_case_is_folded_on_demand():
    assert Vocabulary.fit(["aA"], "char", lowercase=True).encode("Aa") == [4, 4]
    assert Vocabulary.fit(["aA"], "char").encode("Aa") == [4, 5]


def test_decoding_leaves_marks_out():
    tokenizer = Vocabulary.fit(TEXTS, "word", lowercase=True)
    ids = [BEGIN, *tokenizer.encode("Stop, late"), END, PAD, PAD]
    assert tokenizer.decode(ids) == "stop, late"


@given(st.text())
def test_characters_survive_the_way_there_and_back(text):
    tokenizer = Vocabulary.fit([text], "char")
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_tokenizer_comes_back_from_json():
    tokenizer = Vocabulary.fit(["日本 ne\n\t\u2028e", "ab"], "char", lowercase=True, min_count=1)
    other = load(json.loads(json.dumps(tokenizer.state())))
    assert other.state() == tokenizer.state()
    assert other.encode("本 \nz") == tokenizer.encode("本 \nz")


@pytest.fixture(scope="module", params=["bpe", "unigram"])
def subwords(request: pytest.FixtureRequest):
    texts = ["the lowest of the low", "der größte Hund, the newest 日本 show"] * 20
    return fit(texts, request.param, lowercase=False, nfc=False, min_count=1, vocab_size=320)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_subwords_lose_nothing_and_know_everything(subwords, text):
    ids = subwords.encode(text)
    assert subwords.decode(ids) == text
    assert all(END < i < len(subwords) for i in ids)


@pytest.mark.parametrize("text", ["</s>", "a <pad> b", "<unk>", " two  spaces ", "\n\t", ""])
def test_marks_in_a_text_are_text(subwords, text):
    assert subwords.decode([BEGIN, *subwords.encode(text), END, PAD]) == text
    assert min(subwords.encode(text)) > END


def test_frequent_words_are_one_subword(subwords):
    if subwords.unit == "unigram":
        pytest.skip("unigram keeps bytes only on so little text")
    assert len(subwords.encode("the")) == 1
    assert len(subwords.encode("zqxj")) > 2
    assert "".join(subwords.split("the lowest")) == " the lowest"


def test_subwords_by_the_block_are_those_one_by_one(subwords):
    texts = ["the low", "", "日本 <s>"]
    assert list(subwords.encode_all(texts)) == [subwords.encode(text) for text in texts]


def test_subwords_come_back_from_json(subwords):
    other = load(json.loads(json.dumps(subwords.state())))
    assert other.encode("lowest <s> 日") == subwords.encode("lowest <s> 日")
    assert list(other.items) == list(subwords.items)


def test_subwords_fold_case_on_demand():
    folded = fit(["ÄRA the The"] * 3, "bpe", lowercase=True, nfc=False, min_count=1, vocab_size=300)
    assert folded.decode(folded.encode("ÄRA The")) == "ära the"


@pytest.mark.parametrize(("count", "size"), [(9, 13), (995, 999), (996, 1008), (1004, 1008), (1005, 1024)])
def test_a_large_vocabulary_has_a_size_that_suits_the_processor(count: int, size: int):
    vocabulary = Vocabulary.fit([" ".join(f"w{i}" for i in range(count))], "word")
    assert len(vocabulary) == count + 4
    assert vocabulary.size == size
    assert vocabulary.decode([4, *range(len(vocabulary), size)]) == "w0"


def test_subwords_keep_a_letter_and_its_marks_together():
    hindi = fit(["तीन पाँच शून्य"] * 20, "bpe", lowercase=False, nfc=False, min_count=1, vocab_size=350)
    assert hindi.split("पाँच शून्य") == [" पाँच", " शून्य"]


@pytest.mark.parametrize("run", ["acgt", "语言", "1", "-", " "])
def test_subwords_are_learned_from_pieces_of_bounded_length(subwords, run):
    """What the library does with a piece takes the square of its length."""
    pieces = subwords.backend.pre_tokenizer.pre_tokenize_str(run * 1000)
    assert max(end - begin for _, (begin, end) in pieces) <= LONGEST + 1
    assert subwords.decode(subwords.encode(run * 1000)) == run * 1000


def test_subwords_of_older_runs_are_loaded(subwords):
    state = subwords.state()
    old = load(state | {"model": json.dumps(json.loads(state["model"]) | {"pre_tokenizer": OLD_PIECES})})
    assert old.decode(old.encode("the lowest")) == "the lowest"
