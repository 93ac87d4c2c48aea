"""English Web Treebank of Universal Dependencies 2.15: parts of speech in weblogs, mails, reviews and answers (Silveira
et al. 2014, aclanthology.org/L14-1067)."""

from __future__ import annotations

from seqtrain.data.kinds import Tagged, check_split
from seqtrain.reading.conll import UNIVERSAL, blocks
from seqtrain.storage.downloads import fetch_text


class UdEnglishEwt:
    """12,544, 2,001 and 2,077 `Tagged` sentences of given words, whose tags are the column `tags`."""

    kind = "tagged"

    def __init__(self, tags: str):
        self.tags = UNIVERSAL.index(tags)

    def read(self, split: str) -> list[Tagged]:
        check_split(split)
        text = fetch_text(f"ud_english_ewt/en_ewt-ud-{'dev' if split == 'valid' else split}.conllu")
        cells = (list(zip(*block.rows.values(), strict=True)) for block in blocks(text.split("\n"), "conllu"))
        return [Tagged((columns[UNIVERSAL.index("form")],), columns[self.tags]) for columns in cells]
