"""Tokenizers: text to ids and back. Fitted on the training split, kept as JSON in every checkpoint."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

PAD, UNKNOWN, BEGIN, END = range(4)
SPECIALS = ("<pad>", "<unk>", "<s>", "</s>")

_WORDS = re.compile(r"\w+(?:['’]\w+)?|[^\w\s]")
LISTED = ("char", "word")  # units whose items are listed; the others are subwords
BLOCK = 10_000  # texts that are handed to the subword library at once: enough to keep its threads busy


class Tokenizer(ABC):
    """Text as ids. The first four ids are padding, unknown, begin and end.

    unit: the name of its kind. joint: what stands between two items of a text. items: what the ids stand for, specials
    included.
    """

    unit: str
    joint: str
    items: Sequence[str]

    def __len__(self) -> int:
        return len(self.items)

    @property
    def size(self) -> int:
        """Ids that a model makes room for. A large vocabulary is filled up to a multiple of 16 by ids that stand for
        nothing: the product with a matrix of that width is 1.3 times faster in float32."""
        return len(self) if len(self) < 1000 else -(-len(self) // 16) * 16

    @abstractmethod
    def split(self, text: str) -> list[str]:
        """The items of a text, as a reader would want to see them."""

    @abstractmethod
    def encode(self, text: str) -> list[int]: ...

    def encode_all(self, texts: Iterable[str]) -> Iterator[list[int]]:
        return map(self.encode, texts)

    @abstractmethod
    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; padding, begin and end, and ids that stand for nothing, are left out."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """What `load` makes the same tokenizer from, as JSON."""


def fit(texts: Iterable[str], unit: str, lowercase: bool, min_count: int, vocab_size: int) -> Tokenizer:
    """Learns a tokenizer from texts.

    unit: "char"; "word" (runs of letters and digits, every other sign by itself); "bpe", byte pair encoding (Sennrich
    et al. 2016, arXiv:1508.07909) or "unigram" (Kudo 2018, arXiv:1804.10959), both over bytes, so that no text holds
    anything unknown. lowercase: fold case first. min_count: characters and words seen less often are unknown.
    vocab_size: ids of bpe and unigram, specials included.
    """
    if unit in LISTED:
        return Vocabulary.fit(texts, unit, lowercase, min_count)
    return Subwords.fit(texts, unit, lowercase, vocab_size)


def load(state: dict[str, Any]) -> Tokenizer:
    return Vocabulary(**state) if state["unit"] in LISTED else Subwords(**state)


class Vocabulary(Tokenizer):
    """Characters or words."""

    def __init__(self, unit: str, lowercase: bool, items: Sequence[str]):
        self.unit = unit
        self.lowercase = lowercase
        self.items = list(items)
        self.ids = {item: i for i, item in enumerate(self.items)}
        self.joint = "" if unit == "char" else " "

    @classmethod
    def fit(cls, texts: Iterable[str], unit: str, lowercase: bool = False, min_count: int = 1) -> Vocabulary:
        """Every item seen `min_count` times or more, the most frequent first."""
        vocabulary = cls(unit, lowercase, ())
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(vocabulary.split(text))
        seen = sorted((item for item in counts if counts[item] >= min_count), key=lambda item: (-counts[item], item))
        return cls(unit, lowercase, [*SPECIALS, *seen])

    def split(self, text: str) -> list[str]:
        text = text.lower() if self.lowercase else text
        return list(text) if self.unit == "char" else _WORDS.findall(text)

    def encode(self, text: str) -> list[int]:
        return [self.ids.get(item, UNKNOWN) for item in self.split(text)]

    def decode(self, ids: Iterable[int]) -> str:
        return self.joint.join(self.items[i] for i in ids if i not in (PAD, BEGIN, END) and i < len(self))

    def state(self) -> dict[str, Any]:
        return {"unit": self.unit, "lowercase": self.lowercase, "items": self.items}


class Subwords(Tokenizer):
    """Byte pairs or unigram pieces, by the `tokenizers` library. model: its JSON."""

    joint = ""

    def __init__(self, unit: str, lowercase: bool, model: str):
        import tokenizers

        self.unit = unit
        self.lowercase = lowercase
        self.model = model
        self.backend = tokenizers.Tokenizer.from_str(model)
        self.backend.encode_special_tokens = True  # an "</s>" in a text is a text
        ids = self.backend.get_vocab()
        self.items = sorted(ids, key=ids.__getitem__)

    @classmethod
    def fit(cls, texts: Iterable[str], unit: str, lowercase: bool, vocab_size: int) -> Subwords:
        from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

        settings = {
            "vocab_size": vocab_size,
            "special_tokens": list(SPECIALS),
            "initial_alphabet": pre_tokenizers.ByteLevel.alphabet(),
            "show_progress": False,
        }
        if unit == "bpe":
            backend, trainer = Tokenizer(models.BPE()), trainers.BpeTrainer(**settings)
        else:
            backend = Tokenizer(models.Unigram())
            trainer = trainers.UnigramTrainer(unk_token=SPECIALS[UNKNOWN], **settings)
        if lowercase:
            backend.normalizer = normalizers.Lowercase()
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        backend.train_from_iterator(blocks(texts), trainer)
        return cls(unit, lowercase, backend.to_str())

    def split(self, text: str) -> list[str]:
        return [self.backend.decode([i]) for i in self.encode(text)]

    def encode(self, text: str) -> list[int]:
        return self.backend.encode(spaced(text), add_special_tokens=False).ids

    def encode_all(self, texts: Iterable[str]) -> Iterator[list[int]]:
        for block in blocks(texts):
            for encoded in self.backend.encode_batch_fast(block, add_special_tokens=False):
                yield encoded.ids

    def decode(self, ids: Iterable[int]) -> str:
        return self.backend.decode([i for i in ids if END < i < len(self)], skip_special_tokens=False).removeprefix(" ")

    def state(self) -> dict[str, Any]:
        return {"unit": self.unit, "lowercase": self.lowercase, "model": self.model}


def blocks(texts: Iterable[str]) -> Iterator[list[str]]:
    rest = map(spaced, texts)
    while block := list(islice(rest, BLOCK)):
        yield block


def spaced(text: str) -> str:
    """A space before the text: subwords hold the space in front of a word, and so the first word is like the others."""
    return f" {text}"
