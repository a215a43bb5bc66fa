"""Systems against a baseline on one test set: scores, and whether they differ by more than chance.

    bertloss compare --reference test.en --baseline baseline.out --control control.out \
        --system fine-tuned=seed1.out,seed2.out,seed3.out --lm NAME --output DIR/comparison.json
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, replace

from fairseq_bertloss.evaluation import significance
from fairseq_bertloss.evaluation.evidence import Evidence, bleu_evidence, mean_evidence
from fairseq_bertloss.evaluation.metrics import Evaluator
from fairseq_bertloss.evaluation.results import HEADLINE, Comparison, SignificanceTest, Similarity, System
from fairseq_bertloss.evaluation.score import ScoredSystems, score_files
from fairseq_bertloss.evaluation.similarity import largest_gain, similarities
from fairseq_bertloss.progress import progress


def compare(
    references: Sequence[str],
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
        references: files of references, one for each of a sentence's.
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
    _check_options(resamples, seed, level)
    if paired_runs:
        _check_paired(files)
    scored = score_files(references, files, evaluator)
    if len(scored.references) < 2:
        raise ValueError(
            f"{references[0]} has one sentence: a significance test needs two at least, and better some hundred"
        )
    control = _strongest(controls, scored.systems)
    pairs = _tested_pairs(files, baseline, control)
    evidence = {system.name: _evidence(scored, system) for system in scored.systems}
    return Comparison(
        reference_file=references[0],
        references=scored.references.first,
        baseline=baseline,
        control=control,
        systems=[
            replace(system, intervals=_intervals(evidence[system.name], resamples, seed)) for system in scored.systems
        ],
        tests=_tests(scored, evidence, pairs, paired_runs=paired_runs, resamples=resamples, seed=seed),
        level=level,
        signatures=scored.signatures | {"tests": f"{resamples} resamples, seed {seed}"},
        similarities=_similarities(scored, evaluator, baseline),
        paired_runs=paired_runs,
        by_character=scored.surface.by_character,
        weaker_controls=[name for name in controls if name != control],
        further_reference_files=list(references[1:]),
    )


def _check_options(resamples: int, seed: int, level: float) -> None:
    if seed < 1:
        raise ValueError(f"--seed must be at least 1, not {seed}")
    if not 0 < level < 0.5:
        raise ValueError(f"--level must lie between 0 and 0.5, not {level}")
    if resamples < 10 / level:
        raise ValueError(f"--resamples must be at least {10 / level:.0f} for --level {level:g}, not {resamples}")


def _check_paired(files: dict[str, list[str]]) -> None:
    """Makes sure that every file of a system has a partner in the others; a system may have a single one."""
    runs = {name: len(outputs) for name, outputs in files.items()}
    if len({*runs.values()} - {1}) > 1:
        listed = ", ".join(f"{name} has {count}" for name, count in runs.items())
        raise ValueError(
            f"--paired-runs needs one file of a system, or as many as of the others, in the same order of seeds: "
            f"{listed}"
        )


def _strongest(controls: Sequence[str], systems: Sequence[System]) -> str | None:
    """The control with the highest F_BERT; None where there is no control."""
    f_bert = {system.name: system.mean("f_bert") for system in systems}
    return max(controls, key=f_bert.get, default=None)


def _tested_pairs(names: Collection[str], baseline: str, control: str | None) -> list[tuple[str, str]]:
    """Each system with the baseline, and then with the control where there is one; never with itself."""
    against_baseline = [(name, baseline) for name in names if name != baseline]
    if not control:
        return against_baseline
    return against_baseline + [(name, control) for name in names if name not in (baseline, control)]


def _evidence(scored: ScoredSystems, system: System) -> dict[str, list[Evidence]]:
    """What the tests resample: for each metric the evidence of every run of a system."""
    surface = scored.surface
    bleu_text = [surface.bleu_text(run, scored.references) for run in scored.translations[system.name]]
    return {
        "bleu": [bleu_evidence(surface.bleu, text, *references.streams) for text, references in bleu_text],
        "f_bert": [mean_evidence(run.sentences["f_bert"]) for run in system.runs],
        "moverscore": [mean_evidence(run.sentences["moverscore"]) for run in system.runs],
    }


def _intervals(evidence: dict[str, list[Evidence]], resamples: int, seed: int) -> dict[str, list[float]]:
    """The confidence interval of a system's own score in each metric."""
    return {metric: [*significance.interval(runs, resamples=resamples, seed=seed)] for metric, runs in evidence.items()}


def _tests(
    scored: ScoredSystems,
    evidence: dict[str, dict[str, list[Evidence]]],
    pairs: Sequence[tuple[str, str]],
    *,
    paired_runs: bool,
    resamples: int,
    seed: int,
) -> list[SignificanceTest]:
    """Tests each pair of systems in each headline metric."""
    return [
        _test(scored, evidence, metric, name, against, paired_runs=paired_runs, resamples=resamples, seed=seed)
        for name, against in progress(pairs, "significance", unit=" tests")
        for metric in HEADLINE
    ]


def _test(
    scored: ScoredSystems,
    evidence: dict[str, dict[str, list[Evidence]]],
    metric: str,
    name: str,
    against: str,
    *,
    paired_runs: bool,
    resamples: int,
    seed: int,
) -> SignificanceTest:
    """Tests one system against another in one metric, by the evidence of each system and metric."""
    ours, theirs = evidence[name][metric], evidence[against][metric]
    result = significance.compare(ours, theirs, paired_runs=paired_runs, resamples=resamples, seed=seed)
    # Where no resample has a difference, sacrebleu's tests give the smallest p that they can.
    has_difference = metric == "bleu" and any(result.interval)
    p_sacrebleu = _sacrebleu_p(scored, name, against, seed) if has_difference else {}
    return SignificanceTest(name, against, metric, **asdict(result), p_sacrebleu=p_sacrebleu)


def _sacrebleu_p(scored: ScoredSystems, name: str, against: str, seed: int) -> dict[str, float]:
    """What sacrebleu's own tests say, which compare single outputs; nothing where a system has several."""
    surface = scored.surface
    sides = [scored.translations[name], scored.translations[against]]
    if any(len(runs) > 1 for runs in sides):
        return {}
    system, references = surface.bleu_text(sides[0][0], scored.references)
    baseline, same_references = surface.bleu_text(sides[1][0], scored.references)
    if references != same_references:
        return {}
    return significance.sacrebleu_p(surface.bleu, system, baseline, *references.streams, seed=seed)


def _similarities(scored: ScoredSystems, evaluator: Evaluator, baseline: str) -> list[Similarity]:
    """The matrices of the sentence in which the last system gained most, the baseline's and its own."""
    by_name = {system.name: system for system in scored.systems}
    *_, last = (system for system in scored.systems if system.name != baseline)
    sentence = largest_gain(last, by_name[baseline], scored.references, evaluator.tokenizer)
    if sentence is None:
        return []
    return similarities([by_name[baseline], last], sentence, scored.references, evaluator.lm, evaluator.layer)
