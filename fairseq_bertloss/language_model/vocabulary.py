"""A fairseq dictionary's symbols <-> a language model's token ids, aligned by symbol.

fairseq puts its four specials first and pads the dictionary; a language model has its own order.
Nothing here depends on either order: every symbol is looked up in the tokenizer by name, and the
four specials meet by role (<s> is [CLS], </s> is [SEP], <pad> is [PAD], <unk> is [UNK]).
"""

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import torch

from fairseq_bertloss.files import whole
from fairseq_bertloss.language_model.lm_config import is_out_of_reach, not_loadable, quiet_loading, read_config

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ROUNDS_UP = re.compile(r"madeupword\d{4}")
"""What fairseq adds to a dictionary to round its size up."""

ADDED_SYMBOL = re.compile(rf"{ROUNDS_UP.pattern}|__[\w-]+__")
"""What fairseq adds to a dictionary: to round its size up, and translation_multi_simple_epoch's languages."""


class Specials(NamedTuple):
    """The four symbols that every fairseq dictionary has, by role; fairseq's names by default."""

    bos: str = "<s>"
    pad: str = "<pad>"
    eos: str = "</s>"
    unk: str = "<unk>"


class SpecialIds(NamedTuple):
    """The ids of the four in a language model's or a target's vocabulary."""

    bos: int
    pad: int
    eos: int
    unk: int


@runtime_checkable
class Dictionary(Protocol):
    """The part of fairseq's Dictionary that is used here."""

    symbols: list[str]
    bos_word: str
    pad_word: str
    eos_word: str
    unk_word: str


FAIRSEQS_SPECIALS = Specials()
FAIRSEQS_UNKNOWN = FAIRSEQS_SPECIALS.unk
FAIRSEQS_UNKNOWN_IN_REFERENCE = f"<{FAIRSEQS_UNKNOWN}>"
"""How fairseq-generate prints an unknown symbol of a reference, lest it match a translation's in BLEU."""


def load_tokenizer(name: str) -> "PreTrainedTokenizerBase":
    """The language model's tokenizer, set up as bert-score sets it up.

    Args:
        name: hub name or local folder.

    Raises:
        ValueError: there is no such tokenizer, or it lacks the special tokens of an encoder.
    """
    try:
        with quiet_loading():
            tokenizer = _auto_tokenizer(name)
            if type(tokenizer).__name__.startswith("Roberta"):
                # RoBERTa's pieces know whether a space precedes them; bert-score always puts one first.
                tokenizer = _auto_tokenizer(name, add_prefix_space=True)
        if tokenizer.get_vocab().keys() <= set(tokenizer.all_special_tokens):
            # transformers 5 makes one of a folder without the tokenizer's files.
            raise ValueError("it has no vocabulary")
    except Exception as error:  # transformers raises anything over a broken folder
        raise ValueError(not_loadable("tokenizer", name, error)) from error
    special_ids(tokenizer)
    return tokenizer


def special_ids(tokenizer: "PreTrainedTokenizerBase") -> SpecialIds:
    """The language model's ids for the four roles.

    Raises:
        ValueError: the tokenizer misses one, as those of decoder-only models do.
    """
    roles = {
        "bos": tokenizer.cls_token_id,
        "pad": tokenizer.pad_token_id,
        "eos": tokenizer.sep_token_id,
        "unk": tokenizer.unk_token_id,
    }
    missing = [role for role, token_id in roles.items() if token_id is None]
    if missing:
        names = {"bos": "[CLS]", "pad": "[PAD]", "eos": "[SEP]", "unk": "[UNK]"}
        raise ValueError(
            f"the tokenizer {tokenizer.name_or_path!r} has no {', '.join(names[m] for m in missing)} token; "
            "BERTScore needs an encoder such as BERT, RoBERTa or ELECTRA, not a decoder-only model"
        )
    return SpecialIds(**roles)


def symbol_names(symbols: Sequence[str] | Dictionary) -> tuple[list[str], Specials]:
    """Symbols and specials of a fairseq Dictionary, or of a list that uses fairseq's names."""
    if isinstance(symbols, Dictionary):
        specials = Specials(symbols.bos_word, symbols.pad_word, symbols.eos_word, symbols.unk_word)
        return list(symbols.symbols), specials
    return list(symbols), FAIRSEQS_SPECIALS


def align(
    symbols: Sequence[str], tokenizer: "PreTrainedTokenizerBase", specials: Specials = FAIRSEQS_SPECIALS
) -> torch.Tensor:
    """The language model's id of every symbol.

    Args:
        symbols: the target dictionary's symbols, in its order.
        tokenizer: the language model's tokenizer.
        specials: which of the symbols play the four roles.

    Returns:
        (len(symbols),) int64. What fairseq adds by itself (madeupword0000, __en__, ...) gets [UNK]'s id.

    Raises:
        ValueError: symbols that the language model does not have, or a special that is not there.
    """
    absent = [f"{role}={name!r}" for role, name in specials._asdict().items() if name not in symbols]
    if absent:
        raise ValueError(f"the symbols lack the special {', '.join(absent)}; name all four: bos, pad, eos, unk")
    ids = _ids(symbols, tokenizer, specials)
    unknown = [symbol for symbol, token_id in zip(symbols, ids, strict=True) if token_id is None]
    if unknown:
        raise ValueError(
            f"{len(unknown)} of the target dictionary's {len(symbols)} symbols are not in the vocabulary of "
            f"{tokenizer.name_or_path!r}, for example {', '.join(map(repr, unknown[:5]))}. The target side must be "
            "made of that model's own pieces. 'bertloss prepare' tokenizes a corpus so, and "
            f"'bertloss vocabulary --lm {tokenizer.name_or_path} --output dict.txt' writes the dictionary "
            "for 'fairseq-preprocess --tgtdict dict.txt'. Any other dictionary will do for --objective risk, with "
            "candidates as text, and roughly for --objective soft with --symbols-as spelling"
        )
    return torch.tensor(ids)


def unaligned(
    symbols: Sequence[str], tokenizer: "PreTrainedTokenizerBase", specials: Specials = FAIRSEQS_SPECIALS
) -> list[str]:
    """The symbols that `align` would refuse: no pieces of the language model."""
    ids = _ids(symbols, tokenizer, specials)
    return [symbol for symbol, token_id in zip(symbols, ids, strict=True) if token_id is None]


def dictionary_symbols(tokenizer: "PreTrainedTokenizerBase") -> list[str]:
    """The language model's vocabulary in its own order, without what fairseq adds by itself.

    Left out are the four tokens that fairseq's own specials stand for, and symbols that no line of
    tokenized text can hold (with white space in them, or spelt like one of fairseq's specials).
    """
    roles = set(special_ids(tokenizer))
    by_id = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    return [
        symbol
        for symbol, token_id in by_id
        if token_id not in roles and symbol not in FAIRSEQS_SPECIALS and symbol.split() == [symbol]
    ]


def write_dictionary(path: str, symbols: Iterable[str], counts: dict[str, int] | None = None) -> None:
    """Writes a dict.txt that fairseq reads: one `symbol count` a line.

    Args:
        path: the file; it appears whole or not at all.
        symbols: in the order of the file.
        counts: how often each was seen; 1 where not given, since fairseq wants a number.

    Raises:
        ValueError: it is no place for a file.
    """
    counts = counts or {}
    with whole(path) as (partial,), partial.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{symbol} {counts.get(symbol, 1)}\n" for symbol in symbols)


def _ids(symbols: Sequence[str], tokenizer: "PreTrainedTokenizerBase", specials: Specials) -> list[int | None]:
    """The language model's id of every symbol, None where it has none."""
    vocabulary = tokenizer.get_vocab()
    roles = special_ids(tokenizer)
    by_role = {getattr(specials, role): token_id for role, token_id in roles._asdict().items()}

    def id_of(symbol: str) -> int | None:
        token_id = by_role.get(symbol, vocabulary.get(symbol))
        return roles.unk if token_id is None and ADDED_SYMBOL.fullmatch(symbol) else token_id

    return [id_of(symbol) for symbol in symbols]


def _auto_tokenizer(name: str, **options: Any) -> "PreTrainedTokenizerBase":
    """transformers' choice: the class that the tokenizer's files name, else that of the model's family."""
    from transformers import AutoTokenizer
    from transformers.models.auto.tokenization_auto import get_tokenizer_config

    options["local_files_only"] = is_out_of_reach(name)
    if not get_tokenizer_config(name, local_files_only=options["local_files_only"]).get("tokenizer_class"):
        options["config"] = read_config(name)
    # The name is the user's, and may be a folder.
    return AutoTokenizer.from_pretrained(name, trust_remote_code=False, **options)  # nosec B615
