"""Texts as ids and back, as seqtrain made them in training. Beside run.py; needs tokenizers for subwords, and words.py
with regex for words."""

import unicodedata

import numpy as np

PAD, UNKNOWN, BEGIN, END = range(4)


class Text:
    """Texts as ids. tokenizer: as `fit` of seqtrain has learned it; items of a text after `max_length` are left out."""

    def __init__(self, tokenizer, begin, max_length):
        self.begin, self.max_length = begin, max_length
        self.lowercase, self.nfc, unit = tokenizer["lowercase"], tokenizer["nfc"], tokenizer["unit"]
        if "model" in tokenizer:
            import tokenizers

            self.subwords = tokenizers.Tokenizer.from_str(tokenizer["model"])
            self.subwords.encode_special_tokens = True
            self.size = self.subwords.get_vocab_size()
            return
        self.subwords, self.items, self.size = None, tokenizer["items"], len(tokenizer["items"])
        self.index = {item: i for i, item in enumerate(self.items)}
        self.cut, self.join = list, "".join
        if unit == "word":
            from words import Spacing

            spacing = Spacing(tokenizer["usual"], (item for item in self.items if not item.strip()))
            self.cut, self.join = spacing.cut, spacing.join

    def ids(self, text):
        text = unicodedata.normalize("NFC", text) if self.nfc else text
        text = text.lower() if self.lowercase else text
        if self.subwords:
            return self.subwords.encode(" " + text, add_special_tokens=False).ids
        return [self.index.get(item, UNKNOWN) for item in self.cut(text)]

    def encode(self, text):
        return np.array([*self.begin, *self.ids(text)[: self.max_length], END])

    def decode(self, ids):
        ids = [i for i in ids if END < i < self.size or (i == UNKNOWN and not self.subwords)]
        if self.subwords:
            return self.subwords.decode(ids, skip_special_tokens=False).removeprefix(" ")
        return self.join([self.items[i] for i in ids])

    def continued(self, prompt, ids):
        """The prompt with the text of ids after it."""
        before = self.ids(prompt)
        known = self.decode(before)
        more = self.decode([*before, *ids]).removeprefix(known)
        return prompt + (more.lstrip() if prompt[-1:].isspace() and not known[-1:].isspace() else more)
