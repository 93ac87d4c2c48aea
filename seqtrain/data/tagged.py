"""The user's own tagged sentences."""

from __future__ import annotations

from seqtrain.data.kinds import SPLITS, Tagged
from seqtrain.reading.sentences import Choice, open_sentences
from seqtrain.reading.splits import Files, Splits


class TaggedSentences(Splits[Tagged]):
    """`Tagged` sentences of CoNLL, CoNLL-U or JSON Lines files, or of tables with a token a row.

    Without files of their own, validation and test are `valid_share` and `test_share` of the different sentences of the
    training file, chosen by `seed`; a sentence is in one split only. Sentences without a token are left out.
    """

    kind = "tagged"

    def __init__(self, files: Files, choice: Choice):
        given = {
            split: open_sentences(name, f"data.{split}", choice, files.format, files.encoding)
            for split in SPLITS
            if (name := getattr(files, split)) is not None
        }
        super().__init__(given, ("tagged",), files.shares, files.seed)
