"""Spans and how they are counted, against counts by hand that conlleval.pl gives."""

import pytest

from seqtrain.evaluation.baselines.lookup import Lookup
from seqtrain.evaluation.tags import Span, TagSet, spans, under

CASES = {
    "O B-NP I-NP O": [(1, 3, "NP")],
    "B-NP B-NP": [(0, 1, "NP"), (1, 2, "NP")],
    "I-NP I-NP O I-NP": [(0, 2, "NP"), (3, 4, "NP")],  # after O, I begins a span
    "B-NP I-VP": [(0, 1, "NP"), (1, 2, "VP")],  # and where the kind changes
    "B-NP-X I-NP-X": [(0, 2, "NP-X")],
    "B I O B": [(0, 2, ""), (3, 4, "")],
    "S-A B-A I-A E-A I-A": [(0, 1, "A"), (1, 4, "A"), (4, 5, "A")],
    "O O": [],
}


@pytest.mark.parametrize("tags", CASES)
def test_spans_begin_and_end_as_conlleval_has_it(tags: str):
    assert spans(tags.split(), marks=True) == [Span(*span) for span in CASES[tags]]


def test_without_marks_each_token_is_a_span_by_itself():
    assert spans(["load", "O", "load"], marks=False) == [Span(0, 1, "load"), Span(2, 3, "load")]


def test_what_tags_there_are_decides_what_is_counted():
    assert TagSet(["B-NP", "I-NP", "O"]).marks
    assert TagSet(["B-NP", "I-NP", "O"]).kinds == ["NP"]
    assert not TagSet(["BASE", "O"]).marks
    assert TagSet(["call", "O"]).kinds == ["call"]
    assert not TagSet(["NOUN", "VERB"]).outside
    assert TagSet(["NOUN", "VERB"]).score([["NOUN"]], [["VERB"]])() == {"accuracy": 0.0}


def test_scores_are_those_of_conlleval():
    """conlleval.pl: processed 8 tokens with 3 phrases; found: 4 phrases; correct: 1."""
    tag_set = TagSet(["B-NP", "B-VP", "I-NP", "O"])
    targets = [["B-NP", "I-NP", "O", "B-VP"], ["O", "B-NP", "I-NP", "O"]]
    outputs = [["B-NP", "B-NP", "O", "B-VP"], ["O", "B-NP", "O", "O"]]
    found = tag_set.score(outputs, targets)()
    assert found == pytest.approx({"accuracy": 6 / 8, "precision": 1 / 4, "recall": 1 / 3, "f1": 2 / 7})
    np, vp = tag_set.tables(outputs, targets)["spans"]
    assert np == {"span": "NP", "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 2}
    assert vp == {"span": "VP", "precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 1}


def test_tags_that_training_does_not_have_count_as_wrong():
    tag_set = TagSet(["B-NP", "O"])
    found = tag_set.score([["B-NP", "O"]], [["B-NP", "B-LST"]])()
    assert found == pytest.approx({"accuracy": 0.5, "precision": 1.0, "recall": 0.5, "f1": 2 / 3})
    assert tag_set.confusion([["B-NP", "O"]], [["B-NP", "B-LST"]]).tolist() == [[1, 0], [0, 0]]


def test_outputs_stand_under_their_tokens_and_wrong_ones_above_their_tags():
    shown = under(["the", "dog"], ["D", "V"], ["D", "NOUN"])
    assert shown.splitlines() == ["```", "the dog", "D   V", "    (NOUN)", "```"]
    wide = under(["word" * 10] * 3, ["N"] * 3, ["N"] * 3).splitlines()
    assert [line.split() for line in wide[1:-1]] == [["word" * 10] * 2, ["N"] * 2, ["word" * 10], ["N"]]


def test_a_lookup_takes_the_widest_window_that_it_has_seen():
    known = [("the run", "D N"), ("they run", "P V"), ("they run", "P V"), ("oh", "X")]
    known = [(tokens.split(), tags.split()) for tokens, tags in known]
    assert Lookup(0).fit(known)(["the", "run", "new"]) == ["D", "V", "D"]  # seen once: the, oh; D comes before X
    assert Lookup(1).fit(known)(["the", "run"]) == ["D", "N"]
    assert Lookup(1).fit(known)(["we", "run"]) == ["D", "V"]
