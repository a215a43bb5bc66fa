"""What the candidates of a sentence and their rewards depend on beside the sentence: what names a file of them."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager

from fairseq_bertloss.files import check_readable_again, checksum, make_writable
from fairseq_bertloss.training.candidate_cache import OPTION
from fairseq_bertloss.training.config import BERTScoreCriterionConfig
from fairseq_bertloss.training.reward_functions import users_function
from fairseq_bertloss.training.reward_weights import BERTSCORE, BUILT_IN, MOVERSCORE, reward_weights
from fairseq_bertloss.training.rewards import Rewards
from fairseq_bertloss.training.suitable import source_language, target_language

OPTIONS = (
    "score",
    "reward_matching",
    "end_of_sentence",
    "rescale_with_baseline",
    "candidates",
    "sampled_candidates",
    "reference_among_candidates",
    "candidate_generation_args",
    "text_bpe",
    "text_tokenizer",
)
"""Those of the criterion that count by their values; those in FILES count by what the file has."""

FILES = ("finetune_from_model", "bert_idf", "baseline_path", "raw_references")

OPTIONS_OF_TASK = ("eval_bleu_detok", "eval_bleu_detok_args", "eval_bleu_remove_bpe")
"""Of --task, for text."""


def check_places(cfg: BERTScoreCriterionConfig) -> None:
    """Makes the folder, and looks for the model.

    Raises:
        ValueError: the folder cannot be written to, or a file is not there or can be read only once.
    """
    if cfg.cache_candidates:
        make_writable(cfg.cache_candidates, f"{OPTION} {cfg.cache_candidates}")
        for path in _files(cfg).values():
            with _telling(path):
                check_readable_again(path)


def settings(cfg: BERTScoreCriterionConfig, task, rewards: Rewards) -> dict[str, object]:
    """All but the weights of the language model, whose precision is known when training begins.

    Args:
        cfg: the criterion's options.
        task: fairseq's.
        rewards: what candidates earn.

    Raises:
        ValueError: a file cannot be read.
    """
    names = list(reward_weights(cfg.reward))
    task_options = getattr(task, "cfg", None)
    return {
        "rewards": {name: _made_by(name, cfg) for name in names},
        "judge": type(rewards.judge).__name__,
        "text": [str(rewards.texts), *(str(getattr(task_options, name, None)) for name in OPTIONS_OF_TASK)],
        "languages": [source_language(task), target_language(task)],
        "symbols": task.target_dictionary.symbols,
        **{name: str(getattr(cfg, name)) for name in OPTIONS},
        **{name: _digest_of(path) for name, path in _files(cfg).items()},
    }


def _made_by(name: str, cfg: BERTScoreCriterionConfig) -> str | None:
    """What a reward is, beside its name: of a user's function the module, as it is written."""
    if name == MOVERSCORE:
        return cfg.bert_model
    if name == BERTSCORE or name in BUILT_IN:
        return None
    function = users_function(name)
    try:
        source = inspect.getsourcefile(function if inspect.isroutine(function) else type(function))
    except TypeError:  # it is not written in Python
        return None
    return None if source is None else _digest_of(source)


def _files(cfg: BERTScoreCriterionConfig) -> dict[str, str]:
    return {name: path for name in FILES if (path := getattr(cfg, name))}


def _digest_of(path: str) -> str:
    with _telling(path):
        return checksum(path)


@contextmanager
def _telling(path: str) -> Iterator[None]:
    """Says what the file is for, if it cannot be read."""
    try:
        yield
    except OSError as error:
        raise ValueError(f"{OPTION} depends on {path}, which cannot be read: {error.strerror}") from error
