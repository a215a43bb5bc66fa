"""Whether a target is written in a language model's own pieces, and as that language model splits text."""

import os
from collections.abc import Sequence

from fairseq.data import data_utils
from fairseq.tasks.translation import TranslationTask
from fairseq.utils import split_paths

from fairseq_bertloss.language_model.tokenization import UNKNOWN, detokenize, encode
from fairseq_bertloss.language_model.vocabulary import align, load_tokenizer, symbol_names, unaligned
from fairseq_bertloss.text.subwords import are_characters

SAMPLE = 100
"""References of the training set that are split again."""


def symbols_without_piece(dictionary, lm: str) -> list[str]:
    """The symbols that are no pieces of a language model."""
    names, specials = symbol_names(dictionary)
    return unaligned(names, load_tokenizer(lm), specials)


def is_made_of_pieces(dictionary, lm: str | None) -> bool:
    """Whether all symbols are pieces of a language model, and more than characters, which many models have."""
    return lm is not None and not _has_characters(dictionary) and not symbols_without_piece(dictionary, lm)


def splits_otherwise(task, lm: str) -> bool:
    """Whether a language model splits most of the training set's first references into other symbols than theirs.

    Another tool's pieces, and characters, may all be pieces of a large language model as well. Where the task keeps
    references in its own way, the dictionary alone tells.

    Args:
        task: fairseq's, whose training set is not loaded yet, and whose target symbols are all pieces.
        lm: hub name or local folder.
    """
    references = _first_references(task)
    if not references:
        return _has_characters(task.target_dictionary)
    tokenizer = load_tokenizer(lm)
    names, specials = symbol_names(task.target_dictionary)
    pieces = align(names, tokenizer, specials).tolist()
    words = [UNKNOWN if name == specials.unk else name for name in names]
    texts = [detokenize(tokenizer, [words[symbol] for symbol in reference]) for reference in references]
    again = encode(tokenizer, texts)
    alike = sum(
        [pieces[symbol] for symbol in reference] == ids[1:-1] for reference, ids in zip(references, again, strict=True)
    )
    return 2 * alike < len(references)


def _has_characters(dictionary) -> bool:
    return are_characters(dictionary.symbols[dictionary.nspecial :])


def _first_references(task) -> Sequence[list[int]]:
    """Symbols of the training set's first references, without </s>; none where they are not found."""
    if not isinstance(task, TranslationTask):
        return []
    cfg = task.cfg
    source, target = cfg.source_lang, cfg.target_lang
    for pair in (f"{source}-{target}", f"{target}-{source}"):
        prefix = os.path.join(split_paths(cfg.data)[0], f"{cfg.train_subset}.{pair}.{target}")
        data = data_utils.load_indexed_dataset(prefix, task.target_dictionary, cfg.dataset_impl)
        if data is not None:
            first = range(min(SAMPLE, len(data)))
            if data.supports_prefetch:
                data.prefetch(first)
            end = task.target_dictionary.eos()
            return [[symbol for symbol in data[i].tolist() if symbol != end] for i in first]
    return []
