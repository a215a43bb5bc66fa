"""From a dictionary's symbols to text, by fairseq's own doors: what fairseq-generate prints in its D- lines."""

import functools
import json
from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import NamedTuple

from fairseq.data import encoders
from fairseq.data.data_utils import post_process
from omegaconf.errors import OmegaConfBaseException

from fairseq_bertloss.language_model.spaces import space_mark
from fairseq_bertloss.language_model.tokenization import UNKNOWN, detokenize
from fairseq_bertloss.language_model.vocabulary import ROUNDS_UP, load_tokenizer
from fairseq_bertloss.text.canonical import composed
from fairseq_bertloss.text.languages import language_of
from fairseq_bertloss.text.subwords import SPACE, kind_of
from fairseq_bertloss.training.config import BERTScoreCriterionConfig
from fairseq_bertloss.training.dictionary_pieces import is_made_of_pieces
from fairseq_bertloss.training.suitable import language_symbols, source_language

REMEMBERED = 2**16
"""Sentences whose text is kept in memory, the last ones used."""


class Step(NamedTuple):
    """One of the steps from symbols to text, each a string."""

    option: str  # what asks for it, for the log
    decode: Callable[[str], str]


class Detokenizer:
    """The text of sentences of symbols.

    Markers of beginning and end, languages' symbols, <mask> and what fairseq adds to a dictionary are in no text. <unk>
    becomes tokenization.UNKNOWN, as what `bertloss` reads of fairseq-generate's output.

    Args:
        dictionary: fairseq's.
        steps: in their order.
        ignored: symbols that are in no text.
        unknown: how the steps read <unk>.
    """

    def __init__(self, dictionary, steps: Sequence[Step], ignored: set[int], unknown: str):
        self._steps = steps

        @functools.lru_cache(maxsize=REMEMBERED)
        def text_of(symbols: tuple[int, ...]) -> str:
            text = dictionary.string(symbols, extra_symbols_to_ignore=ignored, unk_string=unknown)
            for step in steps:
                text = step.decode(text)
            return composed(text.replace(unknown, UNKNOWN))

        self._text_of = text_of

    def __call__(self, symbols: Sequence[int]) -> str:
        """The text of a sentence; one that comes again is remembered."""
        return self._text_of(tuple(symbols))

    def __str__(self) -> str:
        return " and ".join(step.option for step in self._steps) or "as they stand, with spaces between them"


def target_detokenizer(cfg: BERTScoreCriterionConfig, task) -> Detokenizer:
    """The target's, by what fairseq-generate would be told: --post-process, --bpe and --tokenizer.

    Without the first two, pieces of --bert-model are joined by its tokenizer. In any other dictionary,
    --eval-bleu-remove-bpe, or else the dictionary's own marks, say how symbols become words, and without --tokenizer
    --eval-bleu-detok says how words become text.

    Raises:
        ValueError: an option cannot be.
    """
    dictionary = task.target_dictionary
    ignored = without_text(dictionary, task)
    joining = _joining(cfg, task)
    finishing = _finishing(cfg, task)
    if is_made_of_pieces(dictionary, cfg.bert_model):
        _check_post_process_of_pieces(cfg)
        if not joining and _name(cfg.text_tokenizer) != "word_pieces":  # which joins them itself
            return Detokenizer(dictionary, [_joining_by_lm(cfg), *finishing], ignored, UNKNOWN)
    else:
        joining = joining or _joining_for_bleu(task) or _joining_by_marks(dictionary)
        finishing = finishing or _finishing_for_bleu(task)
    return Detokenizer(dictionary, [*joining, *finishing], ignored, dictionary.unk_word)


def source_detokenizer(cfg: BERTScoreCriterionConfig, task) -> Detokenizer:
    """The source's: pieces of --bert-model are joined by its tokenizer, any other symbols as those of a target.

    Of what validation by BLEU does, --eval-bleu-detok alone counts, by the rules of the source's language.

    Raises:
        ValueError: an option cannot be.
    """
    dictionary = task.source_dictionary
    ignored = without_text(dictionary, task)
    if is_made_of_pieces(dictionary, cfg.bert_model):
        return Detokenizer(dictionary, [_joining_by_lm(cfg)], ignored, UNKNOWN)
    joining = _joining(cfg, task) or _joining_by_marks(dictionary)
    finishing = _finishing(cfg, task) or _finishing_for_bleu(task, source_language(task))
    return Detokenizer(dictionary, [*joining, *finishing], ignored, dictionary.unk_word)


def without_text(dictionary, task) -> set[int]:
    """The symbols that are in no text, beside the markers of beginning and end: languages', <mask>, fairseq's own."""
    own = {"<mask>", dictionary.pad_word, *language_symbols(task)}
    return {i for i, symbol in enumerate(dictionary.symbols) if symbol in own or ROUNDS_UP.fullmatch(symbol)}


def _joining_by_lm(cfg: BERTScoreCriterionConfig) -> Step:
    """From pieces of --bert-model to text."""
    return Step(f"the tokenizer of {cfg.bert_model}", functools.partial(_joined, load_tokenizer(cfg.bert_model)))


def _check_post_process_of_pieces(cfg: BERTScoreCriterionConfig) -> None:
    """Raises ValueError for a --post-process that does not undo pieces of --bert-model."""
    kind = cfg.post_process or "none"
    undone = "sentencepiece" if space_mark(load_tokenizer(cfg.bert_model)) == SPACE else "none"
    if kind not in ("none", undone):
        raise ValueError(
            f"--post-process {kind} does not undo pieces of {cfg.bert_model}, which the target dictionary is made of: "
            "leave it out, and its tokenizer joins them"
        )


def _joined(tokenizer, line: str) -> str:
    return detokenize(tokenizer, line.split())


def _joining(cfg: BERTScoreCriterionConfig, task) -> list[Step]:
    """From symbols to words, as the options say."""
    steps = [_post_process("--post-process", cfg.post_process)] if cfg.post_process else []
    bpe = _built("--bpe", task.build_bpe, cfg.text_bpe)
    return steps if bpe is None else [*steps, Step(f"--bpe {_name(cfg.text_bpe)}", bpe.decode)]


def _joining_for_bleu(task) -> list[Step]:
    kind = getattr(getattr(task, "cfg", None), "eval_bleu_remove_bpe", None)
    return [_post_process("--eval-bleu-remove-bpe", kind)] if kind else []


def _joining_by_marks(dictionary) -> list[Step]:
    kind = kind_of(dictionary.symbols[dictionary.nspecial :])
    return [_post_process("--post-process", kind)] if kind else []


def _post_process(option: str, kind: str) -> Step:
    try:
        post_process("", kind)
    except NotImplementedError as error:
        raise ValueError(
            f"{option} {kind}: fairseq knows subword_nmt, sentencepiece, wordpiece, letter, silence, _EOW and none"
        ) from error
    return Step(f"{option} {kind}", functools.partial(post_process, symbol=kind))


def _finishing(cfg: BERTScoreCriterionConfig, task) -> list[Step]:
    """From words to text, as the options say."""
    tokenizer = _built("--tokenizer", task.build_tokenizer, cfg.text_tokenizer)
    return [] if tokenizer is None else [Step(f"--tokenizer {_name(cfg.text_tokenizer)}", tokenizer.decode)]


def _finishing_for_bleu(task, language: str | None = None) -> list[Step]:
    """From words to text, as validation by BLEU has it; a language takes the place of the target's."""
    options = getattr(task, "cfg", None)
    name = getattr(options, "eval_bleu_detok", "space")
    if name == "space":
        return []
    arguments = _detok_arguments(options.eval_bleu_detok_args or "{}")
    if language is not None:
        arguments["target_lang"] = language_of(language) or language
    tokenizer = _built("--eval-bleu-detok", encoders.build_tokenizer, Namespace(tokenizer=name, **arguments))
    return [Step(f"--eval-bleu-detok {name}", tokenizer.decode)]


def _detok_arguments(text: str) -> dict:
    """What --eval-bleu-detok-args has."""
    try:
        arguments = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"--eval-bleu-detok-args is not JSON: {error}") from error
    if not isinstance(arguments, dict):
        raise ValueError(f'--eval-bleu-detok-args {text} is not a JSON object such as {{"target_lang": "de"}}')
    return arguments


def _name(options) -> str:
    return getattr(options, "_name", options)


def _built(option: str, build: Callable, options):
    """What fairseq builds of an option; None where it is not given."""
    try:
        return build(options)
    except (OmegaConfBaseException, ImportError, OSError, ValueError) as error:
        raise ValueError(f"{option} {_name(options)}: {str(error).splitlines()[0]}") from error
