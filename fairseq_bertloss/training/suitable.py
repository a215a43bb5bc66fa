"""Which of fairseq's tasks and models the criterion can train: others are refused before anything is learned."""

import itertools

from fairseq.data.multilingual.multilingual_utils import LangTokStyle, get_lang_tok
from fairseq.models import (
    BaseFairseqModel,
    FairseqEncoderModel,
    FairseqLanguageModel,
    FairseqMultiModel,
)
from fairseq.models.nat import FairseqNATModel
from fairseq.tasks.language_modeling import LanguageModelingTask
from fairseq.tasks.multilingual_translation import MultilingualTranslationTask
from fairseq.tasks.translation_from_pretrained_bart import TranslationFromPretrainedBARTTask
from fairseq.tasks.translation_lev import TranslationLevenshteinTask
from torch import nn

AUTOREGRESSIVE = (
    "take --task translation and a model that predicts one symbol after the other, such as --arch transformer"
)

UNSUITABLE = {
    TranslationLevenshteinTask: f"trains models that do not predict from left to right: {AUTOREGRESSIVE}",
    MultilingualTranslationTask: "has a model and a dictionary for each language: take "
    "--task translation_multi_simple_epoch",
    LanguageModelingTask: f"has no translations that references could be compared with: {AUTOREGRESSIVE}",
}
"""Tasks that the criterion cannot train, and why."""

DATA_KINDS = ("main", "mono_dae", "mined")
"""What translation_multi_simple_epoch has symbols for, beside the languages: kinds of training data."""

UNSUITABLE_MODELS = (FairseqNATModel, FairseqEncoderModel, FairseqLanguageModel, FairseqMultiModel)
"""Models that are not an encoder and a decoder from left to right."""


def check_task(task) -> None:
    """Raises ValueError unless the task translates, from left to right, with one target dictionary."""
    for unsuitable, why in UNSUITABLE.items():
        if isinstance(task, unsuitable):
            raise ValueError(f"--criterion bertscore_loss: {type(task).__name__} {why}")
    if isinstance(task, TranslationFromPretrainedBARTTask) and not hasattr(task, "args"):
        raise ValueError(
            "--task translation_from_pretrained_bart cannot be started by this fairseq (fairseq#3169): take "
            "--task translation_from_mbart, the same with its mistake put right"
        )
    if getattr(task, "target_dictionary", None) is None:
        name = type(task).__name__
        raise ValueError(f"--criterion bertscore_loss: {name} has no target dictionary: {AUTOREGRESSIVE}")


def language_tags(task) -> str | None:
    """What to do about languages' symbols among the task's target symbols, to be without them; None: it is without."""
    if isinstance(task, TranslationFromPretrainedBARTTask):
        return f"{type(task).__name__} ends sentences with a language's symbol: take --task translation"
    if tags_begin_sentences(task):
        return "leave out --decoder-langtok, and the second of each pair in --langtoks"
    return None


def tags_begin_sentences(task) -> bool:
    """Whether target sides begin with a language's symbol, or the decoder reads one in the place of </s>."""
    langtoks = getattr(getattr(task, "args", None), "langtoks", None) or {}
    return any(target_side for _, target_side in langtoks.values())


def language_symbols(task) -> set[str]:
    """The symbols of the task's languages, in all spellings of fairseq; none where the task has no list of them."""
    languages = getattr(task, "langs", None) or ()
    styles = [style.value for style in LangTokStyle]
    return {get_lang_tok(*names, spec) for names in itertools.product(languages, styles) for spec in DATA_KINDS}


def check_untagged(task) -> None:
    """Raises ValueError where languages' symbols are among the target symbols."""
    if tags := language_tags(task):
        raise ValueError(
            f"{tags}: a language's symbol is no piece of a language model's; or take --objective risk with "
            "--candidates-as text"
        )


def check_model(model: nn.Module) -> None:
    """Raises ValueError for a model that is known to be unsuitable, whatever wraps it."""
    while not isinstance(model, BaseFairseqModel) and isinstance(inner := getattr(model, "module", None), nn.Module):
        model = inner
    if isinstance(model, UNSUITABLE_MODELS):
        raise ValueError(f"--criterion bertscore_loss cannot train a {type(model).__name__}: {AUTOREGRESSIVE}")


def target_language(task) -> str | None:
    """The code of the language that the task translates into; None where there are several, or the task names none."""
    return _language(task, "target")


def source_language(task) -> str | None:
    """The code of the language that the task translates from; None as for `target_language`."""
    return _language(task, "source")


def _language(task, side: str) -> str | None:
    options = getattr(task, "cfg", None) or getattr(task, "args", None)
    given = getattr(options, f"{side}_lang", None)
    several = set(getattr(task, f"{side}_langs", ()))
    return given or (several.pop() if len(several) == 1 else None)
