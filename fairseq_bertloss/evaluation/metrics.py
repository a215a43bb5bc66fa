"""Corpus figures of a system: BLEU by sacrebleu, F_BERT by bert-score, length ratio."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fairseq_bertloss.evaluation.hypotheses import read_hypotheses, read_lines
from fairseq_bertloss.language_model import scoring_layer


@dataclass(frozen=True)
class SystemScore:
    """One row of the table.

    bleu and f_bert are in percent; length_ratio is the hypotheses' number of words to the references',
    words as sacrebleu counts them.
    """

    name: str
    bleu: float
    f_bert: float
    length_ratio: float


def score_files(
    reference: str, systems: dict[str, str], lm: str, layer: int | None = None, lowercase: bool = False
) -> tuple[list[SystemScore], list[str]]:
    """Scores files of translations against one reference.

    Args:
        reference: plain text, one sentence a line.
        systems: name -> file, plain text or fairseq-generate's output.
        lm: hub name or folder of the language model for F_BERT; its tokenizer joins word pieces.
        layer: the scoring layer; None: bert-score's choice for a known name.
        lowercase: BLEU without regard to case; for uncased language models, whose pieces have none.

    Returns:
        A row for each system, and the signatures of the two metrics.

    Raises:
        ValueError: a file cannot be read, or has another number of sentences than the reference.
    """
    from bert_score import BERTScorer
    from sacrebleu.metrics import BLEU

    from fairseq_bertloss.vocabulary import load_tokenizer

    tokenizer = load_tokenizer(lm)
    references = read_lines(reference)
    hypotheses = {name: read_hypotheses(path, tokenizer) for name, path in systems.items()}
    for name, sentences in hypotheses.items():
        if len(sentences) != len(references):
            raise ValueError(
                f"{systems[name]} has {len(sentences)} sentences and the reference {reference} has {len(references)}"
            )
    bleu = BLEU(lowercase=lowercase)
    bert_scorer = BERTScorer(model_type=lm, num_layers=scoring_layer(lm, layer))
    rows = [_score(name, sentences, references, bleu, bert_scorer) for name, sentences in hypotheses.items()]
    # bert-score's hash begins with the name given; of a folder the end says which model it is.
    name = "/".join(Path(lm).parts[-2:])
    return rows, [f"BLEU {bleu.get_signature()}", f"F_BERT {bert_scorer.hash.replace(lm, name, 1)}"]


def _score(name: str, hypotheses: Sequence[str], references: Sequence[str], bleu, bert_scorer) -> SystemScore:
    corpus = bleu.corpus_score(hypotheses, [references])
    *_, f1 = bert_scorer.score(hypotheses, references)
    return SystemScore(name, corpus.score, 100 * f1.mean().item(), corpus.ratio)


def table(rows: Sequence[SystemScore]) -> str:
    """The rows as a Markdown table that is aligned in a terminal too."""
    width = max(len("system"), *(len(row.name) for row in rows))
    lines = [
        f"| {'system':{width}} |   BLEU | F_BERT | length ratio |",
        f"|:{'-' * (width + 1)}|-------:|-------:|-------------:|",
    ]
    lines += [f"| {r.name:{width}} | {r.bleu:6.2f} | {r.f_bert:6.2f} | {r.length_ratio:12.3f} |" for r in rows]
    return "\n".join(lines)
