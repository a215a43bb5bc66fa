"""The options of the criterion `bertscore_loss`."""

from dataclasses import dataclass, field
from typing import Any, Optional  # fairseq's argument parser cannot read `str | None`

from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from omegaconf import II

from fairseq_bertloss.choices import (
    AUTO,
    CANDIDATES_AS,
    DTYPE_NAMES,
    END_OF_SENTENCE,
    MATCHING_NAMES,
    SCALES,
    SCORE_NAMES,
    SOFT_PREDICTIONS,
    SYMBOLS_AS,
    UNFINISHED,
)
from fairseq_bertloss.training.reward_weights import BERTSCORE
from fairseq_bertloss.training.sums import OBJECTIVE_SUMS


@dataclass
class BERTScoreCriterionConfig(FairseqDataclass):
    """The options, in the order of --help."""

    # The language model and the score.
    bert_model: Optional[str] = field(
        default=None, metadata={"help": "language model that scores: Hugging Face hub name or folder (required)"}
    )
    bert_layer: Optional[int] = field(
        default=None,
        metadata={"help": "layer whose embeddings are matched (default: bert-score's choice for a known name)"},
    )
    score: ChoiceEnum(SCORE_NAMES) = field(default="f1", metadata={"help": "which part of BERTScore to maximise"})
    reward_matching: ChoiceEnum(MATCHING_NAMES) = field(
        default="greedy",
        metadata={
            "help": "matching of what is maximised: 'greedy' pays for a word as often as it is said, so that a model "
            "learns to repeat it, 'one-to-one' only once; what is logged and reported stays bert-score's, greedy"
        },
    )
    end_of_sentence: ChoiceEnum(END_OF_SENTENCE) = field(
        default="scored",
        metadata={
            "help": "at </s>: 'scored' feeds the soft prediction and counts it, 'context' feeds it with weight 0, "
            "'gold' feeds [SEP] with weight 0; with --objective risk it is always [SEP], and only 'scored' counts it"
        },
    )
    bert_idf: Optional[str] = field(
        default=None, metadata={"help": "file of references (text, one a line) to compute idf weights from"}
    )
    rescale_with_baseline: bool = field(
        default=False, metadata={"help": "rescale with bert-score's baseline for the target language"}
    )
    baseline_path: Optional[str] = field(
        default=None, metadata={"help": "baseline file for --rescale-with-baseline, in bert-score's format"}
    )
    lm_dtype: Optional[ChoiceEnum((*DTYPE_NAMES, AUTO))] = field(
        default=None,
        metadata={
            "help": "precision of the language model alone; 'auto' is bfloat16 where the device is faster in it, else "
            "what it is without the option (default: float32, or the training's half precision)"
        },
    )
    cache_references: Optional[str] = field(
        default=None,
        metadata={"help": "folder to keep the references' contextual embeddings in, so that each is computed once"},
    )
    cache_references_limit: float = field(
        default=50.0, metadata={"help": "GB that --cache-references may take for one language model"}
    )
    chunk_tokens: Optional[int] = field(
        default=None,
        metadata={
            "help": "tokens whose logits exist at a time (default: as many as suit the device and the vocabulary)"
        },
    )

    # What is minimised.
    objective: ChoiceEnum(tuple(OBJECTIVE_SUMS)) = field(
        default="soft",
        metadata={
            "help": "what learns from BERTScore: 'soft', soft predictions of the reference, as in BERTTune, or 'risk', "
            "the probabilities of the model's own candidates (minimum risk)"
        },
    )
    cross_entropy_weight: float = field(
        default=0.0, metadata={"help": "w in loss = (1 - w) * objective + w * cross-entropy, from 0 to 1"}
    )
    label_smoothing: float = field(
        default=0.0, metadata={"help": "epsilon of label smoothing in the cross-entropy, 0 for none"}
    )

    # The objective `soft`.
    soft_prediction: Optional[ChoiceEnum(SOFT_PREDICTIONS)] = field(
        default=None,
        metadata={
            "help": "--objective soft: how logits become a point on the vocabulary simplex (default: gumbel_softmax)"
        },
    )
    # fairseq fills its groups from one set of names, and `generation` has a `temperature`, a number.
    soft_temperature: Optional[str] = field(
        default=None,
        metadata={
            "argparse_alias": "--temperature",
            "help": "--objective soft: temperature of the soft prediction, a number, or START:END@UPDATES to move "
            "linearly, such as 1.0:0.1@2000; validation uses END (default: 0.1 for gumbel_softmax, 1.0 for the others)",
        },
    )
    gumbel_hard: bool = field(
        default=False,
        metadata={"help": "--objective soft: one-hot Gumbel samples with the gradient of soft ones (straight-through)"},
    )
    symbols_as: ChoiceEnum(SYMBOLS_AS) = field(
        default="pieces",
        metadata={
            "help": "--objective soft: how the language model reads the target dictionary's symbols: 'pieces', which "
            "all of them have to be, or, in any other dictionary, by their 'spelling', each as the mean of the pieces "
            "that spell it, which is no longer exact"
        },
    )
    free_running: bool = field(
        default=False,
        metadata={
            "help": "--objective soft: predictions follow a translation sampled from the model "
            "(--candidate-generation-args), not the reference"
        },
    )

    # The objective `risk`.
    candidates: int = field(
        default=4,
        metadata={
            "help": "--objective risk: translations of each sentence that are compared, found by beam search unless "
            "--candidate-generation-args samples"
        },
    )
    sampled_candidates: int = field(
        default=1,
        metadata={
            "help": "--objective risk: further candidates in training, sampled from the model's own distribution, as "
            "Gumbel-Softmax samples"
        },
    )
    reference_among_candidates: bool = field(
        default=False, metadata={"help": "--objective risk: the reference is a candidate too"}
    )
    risk_alpha: float = field(
        default=1.0, metadata={"help": "--objective risk: candidates weigh softmax(alpha * log-probability / length)"}
    )
    cache_candidates: Optional[str] = field(
        default=None,
        metadata={
            "help": "--objective risk: folder to keep candidates and their rewards in, so that each sentence's are "
            "drawn once, the first time that it comes up, for later epochs and for other runs from the same "
            "--finetune-from-model"
        },
    )
    reward: str = field(
        default=BERTSCORE,
        metadata={
            "help": "--objective risk: what candidates earn: 'bertscore', 'chrf', 'bleu', 'moverscore', or "
            "MODULE:FUNCTION, a function of (hypotheses, references, sources), lists of text, that returns scores; or "
            "several with their weights, such as bertscore:1,chrf:0.5"
        },
    )
    reward_scale: ChoiceEnum(SCALES) = field(
        default="none",
        metadata={
            "help": "--objective risk: brings the rewards of a sentence's candidates to one scale, so that every "
            "sentence counts and --cross-entropy-weight has something to weigh: 'min-max' to the range from 0 to 1, "
            "'std' to mean 0 and standard deviation 1"
        },
    )
    candidates_as: Optional[ChoiceEnum(CANDIDATES_AS)] = field(
        default=None,
        metadata={
            "help": "--objective risk: what BERTScore reads of a candidate: its symbols as 'pieces' of --bert-model, "
            "or its 'text', which any dictionary has (default: pieces where the data are made of them)"
        },
    )
    raw_references: Optional[str] = field(
        default=None,
        metadata={
            "help": "--objective risk: file of the training set's references as text, one a line, in the place of the "
            "text of their symbols (for candidates as text)"
        },
    )
    unfinished_candidates: ChoiceEnum(UNFINISHED) = field(
        default="scored",
        metadata={
            "help": "--objective risk: a candidate that was cut at its longest length is 'scored' as if it had ended "
            "there, 'left-out', or gets the 'lowest' reward of its sentence"
        },
    )
    best_candidate: bool = field(
        default=False,
        metadata={
            "help": "--objective risk: cross-entropy of the candidate with the highest reward, instead of the risk"
        },
    )
    candidate_generation_args: Optional[str] = field(
        default="{}",
        metadata={
            "help": "--objective risk and --free-running: fairseq-generate's options for the model's own translations, "
            'as JSON, such as \'{"sampling": true, "sampling_topk": 10}\' (default: beam search for candidates, '
            "sampling for --free-running)"
        },
    )

    # From symbols to text; beside these fairseq's own --bpe and --tokenizer.
    post_process: Optional[str] = field(
        default=None,
        metadata={
            "argparse_alias": "--remove-bpe",
            "argparse_const": "subword_nmt",
            "help": "how symbols are joined to words, as in fairseq-generate: 'subword_nmt', 'sentencepiece', ... "
            "(default: by --bpe, or else by the marks of the dictionary)",
        },
    )

    # Validation.
    eval_f_bert: bool = field(
        default=False,
        metadata={
            "help": "in validation, translate: f_bert, p_bert and r_bert are bert-score's of the translations, "
            "those of teacher forcing are logged as f_bert_forced, ...; there is one validation before the first update"
        },
    )
    eval_moverscore: bool = field(
        default=False, metadata={"help": "in validation, translate and log the translations' moverscore"}
    )
    eval_bert_model: Optional[str] = field(
        default=None, metadata={"help": "language model that scores the translations (default: --bert-model)"}
    )
    eval_bert_layer: Optional[int] = field(
        default=None, metadata={"help": "scoring layer of that language model for --eval-f-bert"}
    )
    eval_generation_args: Optional[str] = field(
        default="{}",
        metadata={
            "help": 'fairseq-generate\'s options for the translations, as JSON, such as \'{"beam": 4, "lenpen": 0.6}\' '
            "(default: its own defaults, a beam of 5)"
        },
    )

    # fairseq's own.
    text_bpe: Any = II("bpe")  # under its own name it would be what --bpe says, without its options
    text_tokenizer: Any = II("tokenizer")
    cpu: bool = II("common.cpu")
    fp16: bool = II("common.fp16")
    bf16: bool = II("common.bf16")
    amp: bool = II("common.amp")
    sentence_avg: bool = II("optimization.sentence_avg")
    ddp_backend: str = II("distributed_training.ddp_backend")
    best_checkpoint_metric: str = II("checkpoint.best_checkpoint_metric")
    save_dir: str = II("checkpoint.save_dir")
    finetune_from_model: Optional[str] = II("checkpoint.finetune_from_model")
    fairseq_common: Any = II("common")  # these two groups whole, for the validation before the first update
    fairseq_dataset: Any = II("dataset")
