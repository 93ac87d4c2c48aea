"""BLEU (Papineni et al. 2002, aclanthology.org/P02-1040) by sacreBLEU, with a tokenizer that fits the script of the
references."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from seqtrain.config import UserError
from seqtrain.evaluation.report import percent

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU

TOKENIZERS = ("13a", "intl", "zh", "ja-mecab", "ko-mecab", "char", "none")  # those that download nothing
EXTRAS = {"ja-mecab": "ja", "ko-mecab": "ko"}  # {tokenizer: the extra of seqtrain that installs it}
ORDER = 4  # words of the longest n-gram
SCRIPTS = {  # {tokenizer: its letters}; SA ("complex context") are scripts of South East Asia, which have no spaces
    "zh": r"\p{Han}",
    "ja-mecab": r"[\p{Hiragana}\p{Katakana}]",
    "ko-mecab": r"\p{Hangul}",
    "char": r"[\p{Line_Break=SA}\p{Tibetan}]",
}
KANA = 0.1  # from this share of kana on, a text with Han characters is Japanese


@lru_cache
def scorer(tokenizer: str) -> BLEU:
    """Returns sacreBLEU's BLEU with a tokenizer: cased, with its default smoothing. Raises `UserError` where the
    tokenizer is not installed."""
    from sacrebleu.metrics.bleu import BLEU

    try:
        return BLEU(tokenize=tokenizer, force=True)  # force: no warning about text that looks tokenized
    except RuntimeError:
        raise UserError(f"task.bleu_tokenizer={tokenizer} {missing(tokenizer)}") from None


def counted(
    metric: Any, outputs: Sequence[str], references: Sequence[Sequence[str | None]]
) -> tuple[np.ndarray, Callable[[Sequence[float]], float]]:
    """What a metric of sacreBLEU counts in each output, (N, K), and the function that makes the score of the sums of
    these. references: as sacreBLEU takes them. (Its own tests of significance work by these two methods.)"""
    rows = np.array(metric._extract_corpus_statistics(outputs, references), float)
    return rows, lambda sums: metric._compute_score_from_stats(sums).score


def missing(tokenizer: str) -> str:
    return f"needs a package more: pip install 'seqtrain[{EXTRAS[tokenizer]}]'"


def tokenizer_of(references: Sequence[str]) -> tuple[str, str]:
    """Returns the tokenizer for the script of most letters in the references, and a remark for the log, often ""."""
    import regex

    text = "".join(references)
    counts = {name: len(regex.findall(letters, text)) for name, letters in SCRIPTS.items()}
    if counts["ja-mecab"] > KANA * (counts["ja-mecab"] + counts["zh"]):
        counts["ja-mecab"] += counts.pop("zh")
    name = max(counts, key=counts.__getitem__)
    if 2 * counts[name] <= len(regex.findall(r"\p{L}", text)):
        return "13a", ""
    try:
        scorer(name)
    except UserError:
        return "char", f" ({name} {missing(name)})"
    return name, ""


def is_meaningful(references: Sequence[str], tokenizer: str) -> bool:
    """Whether BLEU can compare outputs: it is 0 where most references have fewer words than the longest n-gram."""
    tokenize = scorer(tokenizer).tokenizer
    return bool(np.median([len(tokenize(text).split()) for text in references]) >= ORDER)


def settle(references: Sequence[str], tokenizer: str, monitor: str, lowercase: bool) -> tuple[str, str, list[str]]:
    """Replaces the value "auto" of the tokenizer and of the monitor by one that fits the references.

    Returns both, and notes for the log. lowercase: whether the outputs are in lower case.
    """
    notes: list[str] = []
    remark = ""
    if tokenizer == "auto":
        tokenizer, remark = tokenizer_of(references)
    meaningful = is_meaningful(references, tokenizer)
    if monitor == "auto":
        monitor = "bleu" if meaningful else "chrf"
    if tokenizer != "13a":
        notes.append(f"BLEU cuts texts by sacreBLEU's {tokenizer}{remark}")
    if lowercase and (capitals := sum(text != text.lower() for text in references)):
        notes.append(
            f"{percent(capitals / len(references))} of the targets have capitals and the outputs none "
            "(task.tokenizer.lowercase): they cannot match exactly"
        )
    if not meaningful:
        notes.append(
            f"BLEU cannot tell outputs apart: most targets are shorter than {ORDER} words; "
            f"the best weights are those of the best {monitor}"
        )
    return tokenizer, monitor, notes


def signature(tokenizer: str) -> str:
    """Returns sacreBLEU's signature, which lets others compute the same BLEU: for one reference for each output."""
    bleu = scorer(tokenizer)
    bleu.num_refs = 1
    return str(bleu.get_signature())
