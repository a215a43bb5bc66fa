"""Files of translations -> the figures of every system: what `bertloss score` prints."""

import json
from collections.abc import Sequence
from typing import NamedTuple

from fairseq_bertloss.evaluation.health import health
from fairseq_bertloss.evaluation.hypotheses import Translations, read_references, read_translations
from fairseq_bertloss.evaluation.metrics import Evaluator
from fairseq_bertloss.evaluation.plain_text import aligned, printable
from fairseq_bertloss.evaluation.references import ReferenceFile, References
from fairseq_bertloss.evaluation.results import HEADLINE, METRICS, System
from fairseq_bertloss.evaluation.same_test_set import check_belong_together, check_belongs
from fairseq_bertloss.evaluation.surface import SurfaceMetrics
from fairseq_bertloss.evaluation.tables import score
from fairseq_bertloss.evaluation.tokenized import warn_of_tokenized


class ScoredSystems(NamedTuple):
    """Systems on one test set: their figures, the translations of each run, and the metrics that compare words."""

    references: References
    systems: list[System]
    translations: dict[str, list[Translations]]
    signatures: dict[str, str]
    surface: SurfaceMetrics


def read_reference_files(paths: Sequence[str], tokenizer) -> list[ReferenceFile]:
    """The files of one test set's references, plain text or fairseq-generate's output.

    Raises:
        ValueError: a file cannot be read, or is of another test set than the first.
    """
    files = [ReferenceFile(path, read_references(path, tokenizer)) for path in paths]
    check_belong_together(files)
    return files


def score_files(reference_paths: Sequence[str], files: dict[str, list[str]], evaluator: Evaluator) -> ScoredSystems:
    """Scores files of translations against references.

    Args:
        reference_paths: files of references, plain text or fairseq-generate's output.
        files: name of each system -> its output files, plain text or fairseq-generate's output; several are
            runs of one system that differ by their seed.
        evaluator: what scores them.

    Raises:
        ValueError: a file cannot be read, or is of another test set than the references.
    """
    reference_files = read_reference_files(reference_paths, evaluator.tokenizer)
    texts = [file.text for file in reference_files]
    references = References.of(*texts)
    translations = {name: [read_translations(path, evaluator.tokenizer) for path in files[name]] for name in files}
    everything = [run for runs in translations.values() for run in runs]
    for run in everything:
        check_belongs(run, references, reference_paths[0], evaluator.tokenizer)
    warn_of_tokenized(everything, reference_files, evaluator.tokenizer)
    runs, signatures, surface = evaluator.score(everything, *texts)
    remaining = iter(runs)
    systems = [System(name, [next(remaining) for _ in own]) for name, own in translations.items()]
    return ScoredSystems(references, systems, translations, signatures, surface)


def to_text(scored: ScoredSystems) -> str:
    """The figures as a table, the references' own beneath, and the signatures."""
    rows = [[system.name, *(score(system, name) for name in METRICS)] for system in scored.systems]
    table = aligned(["system", *(metric.title for metric in METRICS.values())], rows)
    own = health(scored.references.first, scored.surface.by_character)
    whose = "the references" if scored.references.number == 1 else "the first references"
    yardstick = (
        f"distinct: different lines, in percent of all ({whose}: {own['distinct']:.1f}). repeated: bigrams that "
        f"occurred before in their line, in percent of all ({whose}: {own['repeated']:.1f}). empty: number of "
        "empty lines."
    )
    return "\n".join([table, "", yardstick, "", *(f"{name} {value}" for name, value in scored.signatures.items())])


def to_tsv(scored: ScoredSystems) -> str:
    """The figures of each sentence, tab-separated, in columns for system, run (from 1), line (from 1) and HEADLINE."""
    lines = [("system", "run", "line", *HEADLINE)]
    for system in scored.systems:
        for number, run in enumerate(system.runs, 1):
            for line, values in enumerate(zip(*(run.sentences[name] for name in HEADLINE), strict=True), 1):
                lines.append((printable(system.name), number, line, *(f"{value:.4f}" for value in values)))
    return "\n".join("\t".join(map(str, line)) for line in lines)


def to_json(scored: ScoredSystems, sentence_level: bool = False) -> str:
    """The figures of each run, and the signatures; with `sentence_level` also those of each sentence."""
    systems = {
        system.name: [
            {"file": run.file, "scores": run.corpus} | ({"sentences": run.sentences} if sentence_level else {})
            for run in system.runs
        ]
        for system in scored.systems
    }
    own = health(scored.references.first, scored.surface.by_character)
    content = {"systems": systems, "references": own, "signatures": scored.signatures}
    return json.dumps(content, indent=2)
