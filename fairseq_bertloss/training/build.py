"""From options to the objects that they describe."""

import logging
from functools import partial

import torch

from fairseq_bertloss.choices import AUTO
from fairseq_bertloss.language_model.precision import is_faster_in_bfloat16
from fairseq_bertloss.language_model.vocabulary import SpecialIds
from fairseq_bertloss.loss.bertscore_loss import BERTScoreLoss
from fairseq_bertloss.loss.text_reward import TextReward
from fairseq_bertloss.training.candidate_cache import CandidateCache
from fairseq_bertloss.training.candidate_settings import settings
from fairseq_bertloss.training.candidates import (
    Generations,
    Translator,
    candidate_generations,
    free_running_generations,
)
from fairseq_bertloss.training.config import BERTScoreCriterionConfig
from fairseq_bertloss.training.detokenizer import source_detokenizer, target_detokenizer
from fairseq_bertloss.training.dictionary_pieces import splits_otherwise, symbols_without_piece
from fairseq_bertloss.training.drawing import CachedDrawing, Drawing
from fairseq_bertloss.training.fitting import Fitting
from fairseq_bertloss.training.judges import PieceJudge, TextJudge
from fairseq_bertloss.training.objective import Objective
from fairseq_bertloss.training.raw_references import RawReferences
from fairseq_bertloss.training.reading import Reader
from fairseq_bertloss.training.reward_functions import RewardFunction, bleu, chrf, moverscore, users_function
from fairseq_bertloss.training.reward_weights import BERTSCORE, BUILT_IN, MOVERSCORE, reward_weights
from fairseq_bertloss.training.rewards import Rewards
from fairseq_bertloss.training.risk import Risk
from fairseq_bertloss.training.soft import FreeRunning, TeacherForcing
from fairseq_bertloss.training.suitable import check_untagged, language_tags, target_language
from fairseq_bertloss.training.texts import TextReader

logger = logging.getLogger(__name__)


def build_generations(cfg: BERTScoreCriterionConfig, task) -> Generations | None:
    """How the objective has the model translate; None where it does not.

    Raises:
        ValueError: --candidate-generation-args has an option that cannot be.
    """
    if str(cfg.objective) == "risk":
        return candidate_generations(cfg, task)
    return free_running_generations(cfg, task) if cfg.free_running else None


def build_rewards(cfg: BERTScoreCriterionConfig, task) -> Rewards | None:
    """What candidates earn; None where the objective has none.

    The language model is loaded last, after all other mistakes in options were found.

    Raises:
        ValueError: there is no such function, an option of detokenization cannot be; as in build_bertscore.
    """
    if str(cfg.objective) != "risk":
        return None
    weights = reward_weights(cfg.reward)
    functions = {name: _function(name, cfg, task) for name in weights if name != BERTSCORE}
    by_text = BERTSCORE in weights and _reads_text(cfg, task)
    if cfg.raw_references and not (functions or by_text):
        raise ValueError(
            "--raw-references does nothing where candidates are read as pieces: leave it out, or add "
            "--candidates-as text"
        )
    texts = _build_texts(cfg, task, functions) if functions or by_text else None
    judge = None
    if BERTSCORE in weights:
        bertscore = build_bertscore(cfg, task, by_text)
        judge = TextJudge(bertscore) if by_text else PieceJudge(bertscore)
    return Rewards(weights, judge, functions, texts, str(cfg.unfinished_candidates))


def _reads_text(cfg: BERTScoreCriterionConfig, task) -> bool:
    """Whether BERTScore reads candidates as text; the log has the reason."""
    symbols = len(task.target_dictionary)
    pieces = symbols - len(symbols_without_piece(task.target_dictionary, cfg.bert_model))
    otherwise = pieces == symbols and splits_otherwise(task, cfg.bert_model)
    chosen = str(cfg.candidates_as or ("text" if language_tags(task) or pieces < symbols or otherwise else "pieces"))
    but = ", but it splits the training set's references otherwise" if otherwise else ""
    if chosen == "pieces" and otherwise:
        _warn_of_other_splits(cfg)
    logger.info(
        f"BERTScore reads candidates as {chosen} (--candidates-as): {pieces:,} of the target dictionary's {symbols:,} "
        f"symbols are pieces of {cfg.bert_model}{but}"
    )
    return chosen == "text"


def build_bertscore(cfg: BERTScoreCriterionConfig, task, by_text: bool) -> BERTScoreLoss | TextReward:
    """BERTScore through the language model of --bert-model: of text, or of the task's target symbols.

    Raises:
        ValueError: the language model cannot be loaded or used, or target symbols are not in its vocabulary.
    """
    options = dict(
        idf_references=cfg.bert_idf,
        rescale_with_baseline=cfg.rescale_with_baseline,
        baseline_path=cfg.baseline_path,
        lang=target_language(task),
        score=str(cfg.score),
        matching=str(cfg.reward_matching),
        lm_dtype=_lm_dtype(cfg),
    )
    if by_text:
        return TextReward(cfg.bert_model, cfg.bert_layer, **options)
    check_untagged(task)
    if str(cfg.symbols_as) == "spelling":
        _say_spelling(cfg, task)
    elif str(cfg.objective) == "soft" and splits_otherwise(task, cfg.bert_model):
        _warn_of_other_splits(cfg)
    return BERTScoreLoss.from_pretrained(
        cfg.bert_model,
        task.target_dictionary,
        cfg.bert_layer,
        soft_prediction=str(cfg.soft_prediction or "gumbel_softmax"),
        gumbel_hard=cfg.gumbel_hard,
        end_of_sentence=str(cfg.end_of_sentence),
        chunk_tokens=cfg.chunk_tokens,
        symbols_as=str(cfg.symbols_as),
        **options,
    )


def _lm_dtype(cfg: BERTScoreCriterionConfig) -> str | None:
    """The language model's own precision; None: the training's. The log says what was found."""
    if cfg.lm_dtype is None or str(cfg.lm_dtype) != AUTO:
        return None if cfg.lm_dtype is None else str(cfg.lm_dtype)
    device = torch.device("cpu" if cfg.cpu or not torch.cuda.is_available() else "cuda")
    name = device.type.upper()
    faster = is_faster_in_bfloat16(device)
    if not faster and (cfg.fp16 or cfg.bf16 or cfg.amp):
        logger.info(f"the language model computes in the training's precision: bfloat16 is not faster on this {name}")
        return None
    found = "bfloat16" if faster else "float32"
    logger.info(
        f"the language model computes in {found}, which is faster on this {name}: pass --lm-dtype {found} to have the "
        "same elsewhere"
    )
    return found


def _warn_of_other_splits(cfg: BERTScoreCriterionConfig) -> None:
    logger.warning(
        f"{cfg.bert_model} splits the training set's references into other symbols than theirs: F is not that of "
        "the text; --objective risk with --candidates-as text has that"
    )


def _say_spelling(cfg: BERTScoreCriterionConfig, task) -> None:
    symbols = len(task.target_dictionary)
    foreign = len(symbols_without_piece(task.target_dictionary, cfg.bert_model))
    logger.info(
        f"{foreign:,} of the target dictionary's {symbols:,} symbols are no pieces of {cfg.bert_model}: each symbol is "
        "read as the mean of the pieces that spell it, and F is not that of the text (--symbols-as spelling)"
        if foreign
        else f"all of the target dictionary's {symbols:,} symbols are pieces of {cfg.bert_model} and read as such"
    )


def _function(name: str, cfg: BERTScoreCriterionConfig, task) -> RewardFunction:
    if name == "chrf":
        return chrf()
    if name == "bleu":
        return bleu(target_language(task))
    if name == MOVERSCORE:
        return moverscore(cfg.bert_model, "cpu" if cfg.cpu else None)
    return users_function(name)


def _build_texts(cfg: BERTScoreCriterionConfig, task, functions: dict[str, RewardFunction]) -> TextReader:
    target = target_detokenizer(cfg, task)
    logger.info(f"text of candidates and references: symbols joined by {target}")
    source = None if set(BUILT_IN).issuperset(functions) else source_detokenizer(cfg, task)
    raw = RawReferences(cfg.raw_references, task) if cfg.raw_references else None
    return TextReader(target, source, task.target_dictionary.pad(), raw)


def build_objective(
    cfg: BERTScoreCriterionConfig,
    task,
    bertscore: BERTScoreLoss | TextReward | None,
    rewards: Rewards | None,
    generations: Generations | None,
) -> Objective:
    """The objective that the options ask for.

    Args:
        cfg: the criterion's options, checked.
        task: fairseq's, which builds generators.
        bertscore: scores candidates or soft predictions; None where BERTScore is no reward.
        rewards: what build_rewards makes of them.
        generations: what build_generations makes of them.

    Raises:
        ValueError: translations would be too long for the language model.
    """
    if generations is None:
        return TeacherForcing(cfg, bertscore)
    reader = Reader(target_specials(task), cfg.cross_entropy_weight > 0, cfg.chunk_tokens)
    translator = Translator(task, rewards or bertscore, generations, longest_target(bertscore))
    if rewards is None:
        return FreeRunning(cfg, bertscore, translator, reader)
    parts = (translator, reader, rewards, cfg.reference_among_candidates)
    if not cfg.cache_candidates:
        return Risk(cfg, Drawing(*parts))
    open_cache = partial(_open_cache, cfg, rewards, settings(cfg, task, rewards))
    return Risk(cfg, CachedDrawing(*parts, task.target_dictionary.pad(), open_cache))


def _open_cache(
    cfg: BERTScoreCriterionConfig, rewards: Rewards, known: dict[str, object], device: torch.device
) -> CandidateCache:
    """Once the language model has its device and precision."""
    if rewards.bertscore is None:
        return CandidateCache(cfg.cache_candidates, known)
    rewards.bertscore.to(device)
    fingerprint = rewards.bertscore.language_model.fingerprint()
    return CandidateCache(cfg.cache_candidates, {**known, "language model": fingerprint})


def build_fitting(task, bertscore: BERTScoreLoss | TextReward | None, rewards: Rewards | None) -> Fitting:
    """Which sentences are scored, by what scores them."""
    texts = None if rewards is None else rewards.texts
    return Fitting(task.target_dictionary.pad(), longest_target(bertscore), texts)


def target_specials(task) -> SpecialIds:
    """The target dictionary's four specials."""
    dictionary = task.target_dictionary
    return SpecialIds(dictionary.bos(), dictionary.pad(), dictionary.eos(), dictionary.unk())


def longest_target(bertscore: BERTScoreLoss | TextReward | None) -> int | None:
    """Symbols of the longest target that can be scored; None: any, as text is cut like bert-score's."""
    return bertscore.max_target_length if isinstance(bertscore, BERTScoreLoss) else None
