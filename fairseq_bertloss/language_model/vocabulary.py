"""A fairseq dictionary's symbols <-> a language model's token ids, aligned by symbol.

fairseq puts its four specials first and pads the dictionary; a language model has its own order.
Nothing here depends on either order: every symbol is looked up in the tokenizer by name, and the
four specials meet by role (<s> is [CLS], </s> is [SEP], <pad> is [PAD], <unk> is [UNK]).
"""

import functools
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import torch

from fairseq_bertloss.files import whole
from fairseq_bertloss.language_model.lm_config import is_out_of_reach, not_loadable, quiet_loading, read_config
from fairseq_bertloss.language_model.spaces import loses_spaces
from fairseq_bertloss.text import unspaced
from fairseq_bertloss.text.canonical import composed

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ROUNDS_UP = re.compile(r"madeupword\d{4}")
"""What fairseq adds to a dictionary to round its size up."""

ADDED_SYMBOL = re.compile(rf"{ROUNDS_UP.pattern}|__[\w-]+__")
"""What fairseq adds to a dictionary: to round its size up, and translation_multi_simple_epoch's languages."""

UNKNOWN = "⁇"
"""Text of an unknown symbol, as SentencePiece has it: a word to BLEU, the unknown token to every language model."""
UNKNOWN_IN_REFERENCE = "⍰"
"""The same in a reference, which must not match a translation's in BLEU, chrF and TER."""


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


def encode(
    tokenizer: "PreTrainedTokenizerBase", lines: Sequence[str], max_length: int | None = None
) -> list[list[int]]:
    """What a language model reads of each line: token ids, its markers of beginning and end included.

    Everything that reads text does it by this rule: the corpus, idf weights, BERTScore and MoverScore. Text that
    spells a special token ("</s>", "[SEP]") is split like other text, or becomes the unknown token where the model's
    pieces cannot spell it, so that it never ends a sentence. One special counts: the unknown token, spelt as the
    tokenizer spells it, as UNKNOWN or as UNKNOWN_IN_REFERENCE.

    Args:
        tokenizer: the language model's, as from `load_tokenizer`.
        lines: text; white space around it does not count, nor how its accents are stored.
        max_length: ids that a line may have, markers included; the last ones before the end are cut off.
    """
    roles = special_ids(tokenizer)
    specials = set(tokenizer.all_special_ids)
    room = None if max_length is None else max_length - 2
    inner = (_read(tokenizer, composed(line).strip())[:room] for line in lines)
    return [[roles.bos, *(roles.unk if i in specials else i for i in ids), roles.eos] for ids in inner]


def tokenize(tokenizer: "PreTrainedTokenizerBase", lines: Sequence[str]) -> list[list[str]]:
    """Word pieces of each line by the rule of `encode`, without sentence markers."""
    return [tokenizer.convert_ids_to_tokens(ids[1:-1]) for ids in encode(tokenizer, lines)]


def detokenize(tokenizer: "PreTrainedTokenizerBase", pieces: Sequence[str]) -> str:
    """The text of word pieces, composed like all text.

    Where the pieces do not record spaces (WordPiece), the spaces before punctuation and English
    clitics are taken out again, as transformers' clean_up_tokenization does, and those between ideographs.
    """
    text = composed(tokenizer.convert_tokens_to_string(list(pieces)))
    return unspaced.join(tokenizer.clean_up_tokenization(text)) if loses_spaces(tokenizer) else text.strip()


def respaced(tokenizer: "PreTrainedTokenizerBase", line: str) -> str:
    """A line with the spaces that `detokenize` gives its pieces, and otherwise spelt as it is.

    It stays what it is where its pieces record spaces, or its tokenizer (a slow one) cannot say where they stand.
    """
    if not loses_spaces(tokenizer) or not tokenizer.is_fast:
        return line
    options = dict(add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True, verbose=False)
    encoding = tokenizer(line, **options)
    pieces = tokenizer.convert_ids_to_tokens(encoding["input_ids"])
    spans = (line[start:end] for start, end in encoding["offset_mapping"])
    spelt = [f"##{span}" if piece.startswith("##") else span for piece, span in zip(pieces, spans, strict=True)]
    return detokenize(tokenizer, spelt)


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


def _read(tokenizer: "PreTrainedTokenizerBase", text: str) -> list[int]:
    """Ids of a line without markers; a special token may be among them where the pieces can spell it."""
    unknown = _unknown_spelling(tokenizer)
    word = _unknown_word(tokenizer)
    if word is not None:
        return _text_ids(tokenizer, unknown.sub(word, text))
    # Nothing is unknown to byte-level pieces: what stands between is read by itself.
    first, *others = (_text_ids(tokenizer, part) if part else [] for part in unknown.split(text))
    return first + [token_id for other in others for token_id in (tokenizer.unk_token_id, *other)]


def _text_ids(tokenizer: "PreTrainedTokenizerBase", text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]


@functools.lru_cache(maxsize=8)
def _unknown_spelling(tokenizer: "PreTrainedTokenizerBase") -> re.Pattern:
    """What finds the spellings, whatever their case, which `bertloss prepare --lowercase` takes away."""
    return re.compile("|".join(map(re.escape, (tokenizer.unk_token, UNKNOWN, UNKNOWN_IN_REFERENCE))), re.IGNORECASE)


@functools.lru_cache(maxsize=8)
def _unknown_word(tokenizer: "PreTrainedTokenizerBase") -> str | None:
    """A word that is read as the unknown token, but for a piece for the space before it; None: there is none."""
    for word in (UNKNOWN, UNKNOWN_IN_REFERENCE, "\U00013000"):
        ids = _text_ids(tokenizer, word)
        if ids and ids[-1] == tokenizer.unk_token_id and len(ids) <= 2:
            return word
    return None
