"""Tokenizers: turn text into ids and back. They are learned from the training split and kept in every checkpoint."""

from __future__ import annotations

import json
import unicodedata
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

from seqtrain.codecs.words import Spacing
from seqtrain.config import UserError
from seqtrain.config.json_values import is_a, make

PAD, UNKNOWN, BEGIN, END = range(4)
SPECIALS = ("<pad>", "<unk>", "<s>", "</s>")

LISTED = ("char", "word")  # units with a list of items; the others are subwords
LONGEST = 100  # characters of a piece that subwords are learned from: the time grows with its square
# The pieces of GPT-2 (Radford et al. 2019), a letter together with its marks and joiners.
PIECES = (
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}[\p{L}\p{M}\x{200C}\x{200D}]{0,#}| ?\p{N}{1,#}| ?[^\s\p{L}\p{N}]{1,#}"
    r"|\s{1,#}(?!\S)|\s{1,#}"
).replace("#", str(LONGEST))
OLD_PIECES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}  # of older runs
BLOCK = 10_000  # texts that the subword library encodes at a time: enough to keep its threads busy


class Tokenizer(ABC):
    """Text as ids. The first four ids are padding, unknown, begin and end.

    unit: the name of its kind. lowercase, nfc: see `fit`. items: what the ids stand for, specials included.
    """

    unit: str
    lowercase: bool
    nfc: bool
    items: Sequence[str]

    def __len__(self) -> int:
        return len(self.items)

    @property
    def size(self) -> int:
        """Returns the size of the vocabulary for a model. A large one is filled up to a multiple of 16 with unused ids:
        a matrix product of that width is 1.3 times faster in float32."""
        return len(self) if len(self) < 1000 else -(-len(self) // 16) * 16

    def normalized(self, text: str) -> str:
        """Returns the text after the composition of accents and the folding of case, if these are set."""
        text = unicodedata.normalize("NFC", text) if self.nfc else text
        return text.lower() if self.lowercase else text

    @abstractmethod
    def split(self, text: str) -> list[str]:
        """Returns the items of a text in a form that a person can read."""

    @abstractmethod
    def encode(self, text: str) -> list[int]: ...

    def encode_all(self, texts: Iterable[str]) -> Iterator[list[int]]:
        return map(self.encode, texts)

    @abstractmethod
    def decode(self, ids: Iterable[int]) -> str:
        """Returns the text of ids, without padding, begin and end marks and unused ids."""

    def continued(self, prompt: str, ids: Sequence[int]) -> str:
        """Returns the prompt with the text of `ids` after it."""
        prompt_ids = self.encode(prompt)
        decoded_prompt = self.decode(prompt_ids)
        continuation = self.decode([*prompt_ids, *ids]).removeprefix(decoded_prompt)
        if prompt[-1:].isspace() and not decoded_prompt[-1:].isspace():
            continuation = continuation.lstrip()  # encoding lost the prompt's last space, which the prompt still has
        return prompt + continuation

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Returns, as JSON, what `load` makes the same tokenizer from."""


def fit(
    texts: Iterable[str], unit: str, lowercase: bool, nfc: bool, min_count: int, vocab_size: int, spaces: bool = True
) -> Tokenizer:
    """Learns a tokenizer from texts.

    unit: "char"; "word" (see `Spacing`); "bpe", byte pair encoding (Sennrich et al. 2016, arXiv:1508.07909), or
        "unigram" (Kudo 2018, arXiv:1804.10959), both over bytes, so that nothing is unknown.
    lowercase: whether texts are converted to lower case first. nfc: whether letters and their accents are composed.
    min_count: characters and words that occur less often are unknown.
    vocab_size: number of ids of bpe and unigram, special ones included.
    spaces: whether unusual spaces between words are items.
    """
    if unit in LISTED:
        return Vocabulary.fit(texts, unit, lowercase, nfc, min_count, spaces)
    return Subwords.fit(texts, unit, lowercase, nfc, vocab_size)


def load(state: dict[str, Any]) -> Tokenizer:
    """Makes a tokenizer from its state. Raises an exception for a state that `fit` would never produce."""
    state = {"nfc": False, **state}  # older runs lack it
    if state["unit"] in LISTED:
        if state["unit"] == "word" and "usual" not in state:
            raise UserError("the words of this run were cut by rules that seqtrain no longer has: train it again")
        vocabulary = make(Vocabulary, {"usual": [], **state})
        if tuple(vocabulary.items[:4]) != SPECIALS or len(vocabulary.ids) < len(vocabulary):
            raise ValueError("the vocabulary does not begin with the marks, or has an item twice")
        if any(space.strip() for *_, space in vocabulary.usual):
            raise ValueError("a space between words is none")
        return vocabulary
    check_model(**state)
    return make(Subwords, state)


class Vocabulary(Tokenizer):
    """A tokenizer into characters, or into words and the unusual spaces between them. usual: see `Spacing`."""

    def __init__(
        self, unit: str, lowercase: bool, nfc: bool, items: Sequence[str], usual: Sequence[Sequence[str]] = ()
    ):
        self.unit = unit
        self.lowercase = lowercase
        self.nfc = nfc
        self.items = list(items)
        self.usual = list(map(list, usual))
        self.ids = {item: i for i, item in enumerate(self.items)}
        self.spacing = Spacing(usual, (item for item in self.items if not item.strip()))

    @classmethod
    def fit(
        cls,
        texts: Iterable[str],
        unit: str,
        lowercase: bool = False,
        nfc: bool = False,
        min_count: int = 1,
        spaces: bool = True,
    ) -> Vocabulary:
        """Learns a vocabulary of the items that occur `min_count` times or more, the most frequent first."""
        texts = map(cls(unit, lowercase, nfc, ()).normalized, texts)
        if unit == "word":
            usual, counts = Spacing.learn(texts)
        else:
            usual, counts = (), Counter(chain.from_iterable(texts))
        frequent = (item for item in counts if counts[item] >= min_count and (spaces or item.strip()))
        items = sorted(frequent, key=lambda item: (-counts[item], item))
        return cls(unit, lowercase, nfc, [*SPECIALS, *items], usual)

    def split(self, text: str) -> list[str]:
        text = self.normalized(text)
        return list(text) if self.unit == "char" else self.spacing.cut(text)

    def encode(self, text: str) -> list[int]:
        return [self.ids.get(item, UNKNOWN) for item in self.split(text)]

    def decode(self, ids: Iterable[int]) -> str:
        items = (self.items[i] for i in ids if i not in (PAD, BEGIN, END) and i < len(self))
        return "".join(items) if self.unit == "char" else self.spacing.join(items)

    def state(self) -> dict[str, Any]:
        settings = {"unit": self.unit, "lowercase": self.lowercase, "nfc": self.nfc}
        return {**settings, "items": self.items, "usual": self.usual}


class Subwords(Tokenizer):
    """A tokenizer into subwords, by byte pair encoding or a unigram model. model: JSON of the library `tokenizers`."""

    def __init__(self, unit: str, lowercase: bool, nfc: bool, model: str):
        import tokenizers

        self.unit = unit
        self.lowercase = lowercase
        self.nfc = nfc
        self.model = model
        self.backend = tokenizers.Tokenizer.from_str(model)
        self.backend.encode_special_tokens = True  # "</s>" in a text is encoded as text, not as the end mark
        ids = self.backend.get_vocab()
        self.items = sorted(ids, key=ids.__getitem__)

    @classmethod
    def fit(cls, texts: Iterable[str], unit: str, lowercase: bool, nfc: bool, vocab_size: int) -> Subwords:
        from tokenizers import pre_tokenizers, trainers

        settings = {
            "vocab_size": vocab_size,
            "special_tokens": list(SPECIALS),
            "initial_alphabet": pre_tokenizers.ByteLevel.alphabet(),
            "show_progress": False,
        }
        if unit == "bpe":
            trainer = trainers.BpeTrainer(**settings)
        else:
            trainer = trainers.UnigramTrainer(unk_token=SPECIALS[UNKNOWN], **settings)
        backend = untrained(unit, lowercase, nfc)
        backend.train_from_iterator(blocks(texts), trainer)
        return cls(unit, lowercase, nfc, backend.to_str())

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
        return {"unit": self.unit, "lowercase": self.lowercase, "nfc": self.nfc, "model": self.model}


def untrained(unit: str, lowercase: bool, nfc: bool) -> Any:
    """Returns a tokenizer of the library `tokenizers` with all settings, but without a vocabulary."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    backend = Tokenizer(models.BPE() if unit == "bpe" else models.Unigram())
    if lowercase or nfc:
        steps = [normalizers.NFC()] * nfc + [normalizers.Lowercase()] * lowercase
        backend.normalizer = steps[0] if len(steps) == 1 else normalizers.Sequence(steps)
    pieces = pre_tokenizers.Split(Regex(PIECES), "isolated")
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([pieces, as_bytes])
    backend.decoder = decoders.ByteLevel()
    return backend


def check_model(unit: str, lowercase: bool, nfc: bool, model: str) -> None:
    """Raises ValueError where the JSON of a tokenizer differs from what `fit` writes in more than the vocabulary.

    A checkpoint that is not trusted could have regular expressions or padding that take endless time and memory.
    """
    expected = json.loads(untrained(unit, lowercase, nfc).to_str())
    given = json.loads(model)
    if given["pre_tokenizer"] == OLD_PIECES:
        expected["pre_tokenizer"] = OLD_PIECES
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    expected["added_tokens"] = [{"id": i, "content": mark, **flags} for i, mark in enumerate(SPECIALS)]
    learned = {name: given["model"].pop(name) for name in ("vocab", "merges" if unit == "bpe" else "unk_id")}
    expected["model"] = {name: value for name, value in expected["model"].items() if name not in learned}
    if unit == "bpe":
        ids = learned["vocab"].values()
        valid = is_a(learned["vocab"], dict[str, int]) and sorted(ids) == [*range(len(ids))]
    else:
        valid = learned["unk_id"] == UNKNOWN and all(is_a(piece, str) for piece, _ in learned["vocab"])
    if not valid or given != expected:
        raise ValueError("the tokenizer is not as seqtrain makes them")


def blocks(texts: Iterable[str]) -> Iterator[list[str]]:
    """Yields the texts in lists of `BLOCK`, each with a space before it."""
    with_space = map(spaced, texts)
    while block := list(islice(with_space, BLOCK)):
        yield block


def spaced(text: str) -> str:
    """Returns the text with a space before it. Subwords include the space before a word: so the first word of a text is
    encoded like the others."""
    return f" {text}"
