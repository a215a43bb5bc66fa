"""Systems against a baseline on one test set: scores, and whether they differ by more than chance.

    bertloss compare --reference test.en --baseline baseline.out --control control.out \
        --system fine-tuned=seed1.out,seed2.out,seed3.out --lm NAME --output DIR/comparison.json
"""

from collections.abc import Sequence
from dataclasses import asdict, replace

from tqdm import tqdm

from fairseq_bertloss.evaluation import significance
from fairseq_bertloss.evaluation.evidence import Evidence, bleu_evidence, mean_evidence
from fairseq_bertloss.evaluation.metrics import Evaluator
from fairseq_bertloss.evaluation.results import HEADLINE, Comparison, Similarity, System, Test
from fairseq_bertloss.evaluation.score import Scores, score_files
from fairseq_bertloss.evaluation.similarity import largest_gain, similarities


def compare(
    reference: str,
    files: dict[str, list[str]],
    evaluator: Evaluator,
    *,
    baseline: str,
    controls: Sequence[str] = (),
    paired_runs: bool = False,
    resamples: int = 10000,
    seed: int = 12345,
    level: float = 0.01,
) -> Comparison:
    """Scores systems and tests each against the baseline and, where there are controls, against the strongest of them.

    Args:
        reference: file of references.
        files: name of each system -> its output files, one for each run.
        evaluator: what scores them.
        baseline: the name of the system that the others are compared with.
        controls: the names of systems that had cross-entropy for as long; the strongest has the highest F_BERT.
        paired_runs: run i of each system has the seed of run i of the others: the tests over runs are of the
            differences pair by pair. A system with a single run is taken as it is.
        resamples: of the bootstrap and of the randomisation.
        seed: of both.
        level: p below which a difference counts as significant.

    Raises:
        ValueError: a file cannot be read, is of another test set or, where runs are paired, has no partner, or an
            option is out of its range.
    """
    if seed < 1:
        raise ValueError(f"--seed must be at least 1, not {seed}")
    if not 0 < level < 0.5:
        raise ValueError(f"--level must lie between 0 and 0.5, not {level}")
    if resamples < 10 / level:
        raise ValueError(f"--resamples must be at least {10 / level:.0f} for --level {level:g}, not {resamples}")
    runs = {name: len(outputs) for name, outputs in files.items()}
    if paired_runs and len({*runs.values()} - {1}) > 1:
        listed = ", ".join(f"{name} has {count}" for name, count in runs.items())
        raise ValueError(
            f"--paired-runs needs one file of a system, or as many as of the others in the same order of seeds: {listed}"
        )
    scores = score_files(reference, files, evaluator)
    if len(scores.references) < 2:
        raise ValueError(
            f"{reference} has one sentence: a significance test needs two at least, and better some hundred"
        )
    evidence = {system.name: _evidence(scores, system, evaluator) for system in scores.systems}
    intervals = {
        name: {metric: [*significance.interval(runs, resamples=resamples, seed=seed)] for metric, runs in found.items()}
        for name, found in evidence.items()
    }
    f_bert = {system.name: system.mean("f_bert") for system in scores.systems}
    control = max(controls, key=f_bert.get, default=None)
    pairs = [(name, other) for other in (baseline, control) if other for name in files if name not in (baseline, other)]
    tests = []
    for name, against in tqdm(pairs, "significance", leave=False, disable=None):
        for metric in HEADLINE:
            result = significance.compare(
                evidence[name][metric],
                evidence[against][metric],
                paired_runs=paired_runs,
                resamples=resamples,
                seed=seed,
            )
            # Where no resample has a difference, sacrebleu's tests give the smallest p that they can.
            is_told = metric == "bleu" and any(result.interval)
            sacrebleu = _sacrebleu_p(scores, evaluator, name, against, seed) if is_told else {}
            tests.append(Test(name, against, metric, **asdict(result), p_sacrebleu=sacrebleu))
    return Comparison(
        reference_file=reference,
        references=scores.references,
        baseline=baseline,
        control=control,
        systems=[replace(system, intervals=intervals[system.name]) for system in scores.systems],
        tests=tests,
        level=level,
        signatures=scores.signatures | {"tests": f"{resamples} resamples, seed {seed}"},
        similarities=_similarities(scores, evaluator, baseline),
        paired_runs=paired_runs,
        by_character=scores.by_character,
        weaker_controls=[name for name in controls if name != control],
    )


def _evidence(scores: Scores, system: System, evaluator: Evaluator) -> dict[str, list[Evidence]]:
    """What the tests resample: for each metric the evidence of every run of a system."""
    bleu_text = [evaluator.surface.bleu_text(run, scores.references) for run in scores.translations[system.name]]
    return {
        "bleu": [bleu_evidence(evaluator.surface.bleu, *text) for text in bleu_text],
        "f_bert": [mean_evidence(run.sentences["f_bert"]) for run in system.runs],
        "moverscore": [mean_evidence(run.sentences["moverscore"]) for run in system.runs],
    }


def _sacrebleu_p(scores: Scores, evaluator: Evaluator, name: str, against: str, seed: int) -> dict[str, float]:
    """What sacrebleu's own tests say, which know one output of each system."""
    sides = [scores.translations[name], scores.translations[against]]
    if any(len(runs) > 1 for runs in sides):
        return {}
    (system, references), (baseline, same) = (evaluator.surface.bleu_text(runs[0], scores.references) for runs in sides)
    if references != same:
        return {}
    return significance.sacrebleu_p(evaluator.surface.bleu, system, baseline, references, seed=seed)


def _similarities(scores: Scores, evaluator: Evaluator, baseline: str) -> list[Similarity]:
    """The matrices of the sentence in which the last system gained most, the baseline's and its own."""
    by_name = {system.name: system for system in scores.systems}
    systems = by_name[baseline], [system for system in scores.systems if system.name != baseline][-1]
    sentence = largest_gain(systems[1], systems[0], scores.references, evaluator.tokenizer)
    if sentence is None:
        return []
    return similarities(systems, sentence, scores.references, evaluator.lm, evaluator.layer)
