"""Significance tests against exact enumerations, sacrebleu and scipy, and their rates of false positives."""

import itertools
import random

import numpy as np
import pytest
from sacrebleu.metrics import BLEU
from sacrebleu.significance import PairedTest
from scipy import stats

from fairseq_bertloss.evaluation import significance
from fairseq_bertloss.evaluation.evidence import Evidence, bleu_evidence, bleu_from_statistics, mean_evidence
from fairseq_bertloss.evaluation.significance import compare, interval, sacrebleu_p

NULLS = 200


def lossy(lines, kept: float, salt: int = 0) -> list[str]:
    """What a system that loses words makes of the lines."""
    chance = random.Random(f"{kept} {salt}")
    return [" ".join(word for word in line.split() if chance.random() < kept) for line in lines]


def means(*sides) -> list[list[Evidence]]:
    """Evidence from the sentences' scores of every run of each side."""
    return [[mean_evidence(run) for run in side] for side in sides]


# BLEU from statistics


@pytest.mark.parametrize("smooth_method", ["exp", "none"])
@pytest.mark.parametrize("options", [{}, {"lowercase": True, "tokenize": "none"}, {"max_ngram_order": 2}])
def test_bleu_is_sacrebleus(real_pairs, smooth_method, options):
    bleu = BLEU(smooth_method=smooth_method, **options)
    hypotheses, references = (side[90:130] for side in real_pairs)
    hypotheses = ["", "one two", references[2], references[3] * 3, " ", *hypotheses[5:]]
    evidence = bleu_evidence(bleu, hypotheses, references)
    assert evidence.score() == pytest.approx(bleu.corpus_score(hypotheses, [references]).score, abs=1e-9)
    # Single sentences and short stretches: no matches, no 4-grams, nothing at all, shorter than the reference.
    zeros = 0
    for start, length in itertools.product(range(40), (1, 2, 3)):
        stretch = slice(start, start + length)
        expected = bleu.corpus_score(hypotheses[stretch], [references[stretch]]).score
        assert evidence.aggregate(evidence.statistics[stretch].sum(axis=0)) == pytest.approx(expected, abs=1e-9)
        zeros += expected == 0
    assert 3 < zeros < 100


def test_bleu_of_several_references_is_sacrebleus(real_pairs):
    """Of each sentence as many as there are."""
    hypotheses, references = (side[:60] for side in real_pairs)
    other = [None if i % 4 == 0 else line for i, line in enumerate(lossy(references, 0.7))]
    evidence = bleu_evidence(BLEU(), hypotheses, references, other)
    for start, length in itertools.product((0, 7, 20), (1, 2, 40)):
        stretch = slice(start, start + length)
        expected = BLEU().corpus_score(hypotheses[stretch], [references[stretch], other[stretch]]).score
        assert evidence.aggregate(evidence.statistics[stretch].sum(axis=0)) == pytest.approx(expected, abs=1e-9)
    assert evidence.score() > bleu_evidence(BLEU(), hypotheses, references).score()


def test_bleu_of_many_sums_at_once(real_pairs):
    statistics = bleu_evidence(BLEU(), *real_pairs).statistics
    sums = np.stack([statistics[:100], statistics[100:]]).cumsum(axis=1)
    one_by_one = [[bleu_from_statistics(s) for s in half] for half in sums]
    np.testing.assert_allclose(bleu_from_statistics(sums), one_by_one, rtol=1e-12)


def test_bleu_with_other_options_is_refused():
    for bleu in (BLEU(smooth_method="floor"), BLEU(effective_order=True)):
        with pytest.raises(ValueError, match="smooth_method 'exp' or 'none'"):
            bleu_evidence(bleu, ["a", "b"], ["a", "b"])


# Known p


def share_above(values, observed) -> float:
    """Share of outcomes above the observed one, ties half; the textbook's p where all outcomes are known."""
    values = np.array(values)
    return np.mean(values > observed + 1e-9) + np.mean(np.abs(values - observed) <= 1e-9) / 2


def enumerated(system, baseline, score) -> tuple[float, float]:
    """p of the bootstrap from all n^n resamples and of randomisation from all 2^n swaps.

    system and baseline are lists of runs, a run a list of what is scored, and score(run, sentences) a corpus score.
    """
    n = len(system[0])

    def difference(side, other, sentences):
        return np.mean([score(run, sentences) for run in side]) - np.mean([score(run, sentences) for run in other])

    everything = range(n)
    observed = difference(system, baseline, everything)
    resampled = [difference(system, baseline, drawn) for drawn in itertools.product(everything, repeat=n)]
    swapped = []
    for coins in itertools.product([False, True], repeat=n):
        pairs = []
        for run, other in itertools.product(system, baseline):
            mine = [b if coin else a for a, b, coin in zip(run, other, coins, strict=True)]
            theirs = [a if coin else b for a, b, coin in zip(run, other, coins, strict=True)]
            pairs.append(difference([mine], [theirs], everything))
        swapped.append(np.mean(pairs))
    return share_above(resampled, 2 * observed), share_above(swapped, observed)


def assert_p(result, bootstrap: float, randomization: float, resamples: int) -> None:
    """Makes sure that the p are the exact ones but for resampling, within four standard errors."""
    for p, exact in ((result.p_bootstrap, bootstrap), (result.p_randomization, randomization)):
        assert 0.02 < exact < 0.48
        assert p == pytest.approx(exact, abs=4 * (exact * (1 - exact) / resamples) ** 0.5)


@pytest.mark.parametrize(
    "system, baseline",
    [
        ([[3, 5, 2, 8, 6]], [[2, 5, 3, 5, 4]]),  # whole numbers: many ties
        ([[0.1, 0.7, 0.3, 0.9, 0.2]], [[0.05, 0.2, 0.4, 0.6, 0.3]]),
        ([[3, 5, 2, 8, 6], [4, 3, 2, 5, 5]], [[2, 5, 3, 5, 4]]),
        ([[3, 5, 2, 8, 6], [4, 3, 2, 5, 5]], [[2, 5, 3, 5, 4], [3, 3, 4, 6, 3]]),
    ],
)
def test_p_of_a_mean_is_that_of_all_outcomes(system, baseline):
    exact = enumerated(system, baseline, lambda run, sentences: np.mean([run[i] for i in sentences]))
    assert_p(compare(*means(system, baseline), resamples=100_000, seed=1), *exact, 100_000)


@pytest.mark.parametrize("runs", [1, 2])
def test_p_of_bleu_is_that_of_all_outcomes(real_pairs, runs):
    references = real_pairs[1][:4]
    system = [lossy(references, 0.9, salt) for salt in range(runs)]
    baseline = [lossy(references, 0.8)]
    bleu = BLEU()
    evidence = [[bleu_evidence(bleu, run, references) for run in side] for side in (system, baseline)]

    def score(run, sentences):
        pairs = [run[i] for i in sentences]
        return bleu.corpus_score([text for text, _ in pairs], [[reference for _, reference in pairs]]).score

    with_references = [[list(zip(run, references, strict=True)) for run in side] for side in (system, baseline)]
    exact = enumerated(*with_references, score)
    assert_p(compare(*evidence, resamples=100_000, seed=1), *exact, 100_000)


@pytest.mark.parametrize("runs", [1, 3])
def test_identical_systems(runs, real_pairs):
    scores = [np.random.default_rng(run).normal(80, 5, size=300) for run in range(runs)]
    for system in (means(scores)[0], [bleu_evidence(BLEU(), *real_pairs)] * runs):
        result = compare(system, list(reversed(system)), resamples=500)
        assert result.difference == 0 and result.interval == (0, 0)
        assert result.p_bootstrap == result.p_randomization == 0.5
        assert result.p_runs == (0.5 if runs > 1 else None)


def test_a_planted_difference_is_found(real_pairs):
    """Of one sign in each direction, and sacrebleu comes to the same decision."""
    references = real_pairs[1]
    better, worse, as_good = lossy(references, 0.9), lossy(references, 0.8), lossy(references, 0.8, salt=1)
    systems = {name: bleu_evidence(BLEU(), text, references) for name, text in (("b", better), ("w", worse))}
    found = compare([systems["b"]], [systems["w"]], resamples=2000)
    assert found.p_bootstrap < 0.001 and found.p_randomization < 0.001 and found.interval[0] > 0
    lost = compare([systems["w"]], [systems["b"]], resamples=2000)
    assert lost.p_bootstrap > 0.999 and lost.p_randomization > 0.999 and lost.interval[1] < 0
    assert max(sacrebleu_p(BLEU(), better, worse, references).values()) < 0.01

    nothing = compare([bleu_evidence(BLEU(), as_good, references)], [systems["w"]], resamples=2000)
    assert 0.05 < nothing.p_bootstrap < 0.95 and 0.05 < nothing.p_randomization < 0.95
    assert min(sacrebleu_p(BLEU(), as_good, worse, references).values()) > 0.05


@pytest.mark.parametrize("runs", [1, 3])
def test_the_other_direction_has_the_other_p(runs):
    rng = np.random.default_rng(1)
    system, baseline = means(rng.normal(0.1, 1, size=(runs, 200)), rng.normal(size=(1, 200)))
    one, other = compare(system, baseline, resamples=999), compare(baseline, system, resamples=999)
    names = ["p_bootstrap", "p_randomization"] + ["p_runs"] * (runs > 1)
    for name in names:
        assert getattr(one, name) + getattr(other, name) == pytest.approx(1, abs=1e-9)
        assert 0.001 < getattr(one, name) < 0.5


@pytest.mark.parametrize("runs", [(1, 1), (3, 1), (3, 3), (2, 5)])
def test_the_other_direction_has_the_other_difference(runs):
    """To the bit: a - b is -(b - a), where nothing is left to the order in which a BLAS adds up."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        system, baseline = means(*(rng.normal(size=(k, 50)) for k in runs))
        one, other = (compare(*sides, resamples=1).difference for sides in ((system, baseline), (baseline, system)))
        assert one == -other != 0


def test_the_seed_decides():
    system, baseline = means(*np.random.default_rng(1).normal(size=(2, 1, 100)))
    results = [compare(system, baseline, resamples=500, seed=seed) for seed in (7, 7, 8)]
    assert results[0] == results[1] != results[2]


def test_resamples_are_made_in_chunks_of_bounded_size(monkeypatch):
    system, baseline = means(*np.random.default_rng(1).normal(size=(2, 1, 100)))
    whole = compare(system, baseline, resamples=10_000)
    monkeypatch.setattr(significance, "CHUNK", 700)
    sizes = []

    def aggregate(sums):
        sizes.append(len(np.atleast_2d(sums)))
        return sums[..., 0] / sums[..., 1]

    parts = compare([Evidence(system[0].statistics, aggregate)], baseline, resamples=10_000)
    assert max(sizes) == 7 and 20_000 <= sum(sizes) < 20_010
    assert parts.p_bootstrap == pytest.approx(whole.p_bootstrap, abs=0.03)
    assert parts.p_randomization == pytest.approx(whole.p_randomization, abs=0.03)


# Intervals


def test_interval_of_a_mean_is_nearly_students():
    scores = np.random.default_rng(1).normal(80, 5, size=400)
    expected = stats.t.interval(0.95, 399, scores.mean(), stats.sem(scores))
    assert interval([mean_evidence(scores)]) == pytest.approx(expected, abs=0.05)
    difference = compare([mean_evidence(scores)], [mean_evidence(np.full(400, 80.0))]).interval
    assert np.add(difference, 80) == pytest.approx(expected, abs=0.05)


# Over runs


def test_p_over_runs_where_only_runs_vary_is_students():
    """Runs that differ by as much in every sentence, against one fixed run."""
    base, shifts = np.random.default_rng(1).normal(80, 5, size=300), np.array([0.3, -0.1, 0.5, 0.25])
    result = compare(*means(base + shifts[:, None], [base]), resamples=1000)
    expected = stats.ttest_1samp(shifts, 0, alternative="greater")
    assert result.p_runs == pytest.approx(expected.pvalue, rel=1e-6)
    two_sided = stats.ttest_1samp(shifts, 0).confidence_interval()
    assert result.interval == pytest.approx(tuple(two_sided), abs=1e-6)
    assert result.p_bootstrap < 0.001  # certain of these runs
    own = interval(means(base + shifts[:, None])[0])
    assert own[0] < base.mean() + shifts.mean() + two_sided.low and base.mean() + two_sided.high < own[1]


def test_p_over_runs_where_only_sentences_vary_is_students():
    baseline, gains = np.random.default_rng(1).normal(size=(2, 300))
    scores = baseline + gains - gains.mean() + 0.1
    result = compare(*means([scores] * 3, [baseline] * 2))
    expected = stats.ttest_rel(scores, baseline, alternative="greater").pvalue
    assert 0.01 < expected < 0.1 and result.p_runs == pytest.approx(expected, rel=0.05)
    assert result.p_runs == pytest.approx(result.p_bootstrap, abs=0.02)


def test_p_over_runs_adds_both_variances():
    rng = np.random.default_rng(1)
    base = rng.normal(80, 5, size=300)
    system = base + rng.normal(0.4, 1, size=(3, 300)) + np.array([[0.1], [0.0], [-0.1]])
    baseline = base + rng.normal(size=(4, 300))
    result = compare(*means(system, baseline), resamples=20_000)
    gains = system.mean(axis=0) - baseline.mean(axis=0)
    parts = [(gains.var(ddof=1) / 300, 299)]
    parts += [(side.mean(axis=1).var(ddof=1) / len(side), len(side) - 1) for side in (system, baseline)]
    # Banerjee's bound: at the p that is reported, the observed difference is just critical.
    critical = sum(stats.t.isf(result.p_runs, degrees) ** 2 * variance for variance, degrees in parts) ** 0.5
    assert critical == pytest.approx(gains.mean(), rel=0.01)
    assert result.p_bootstrap < result.p_runs < 0.5


def test_p_over_paired_runs_is_students_of_the_differences():
    """What the baselines' seeds do to both sides cancels out."""
    base, seeds = np.random.default_rng(1).normal(80, 5, size=300), np.array([[0.0], [3.0], [-2.0], [1.0]])
    gains = np.array([0.3, 0.1, 0.5, 0.25])
    sides = means(base + seeds + gains[:, None], base + seeds)
    paired = compare(*sides, paired_runs=True, resamples=1000)
    assert paired.p_runs == pytest.approx(stats.ttest_1samp(gains, 0, alternative="greater").pvalue, rel=1e-6)
    assert paired.interval == pytest.approx(tuple(stats.ttest_1samp(gains, 0).confidence_interval()), abs=1e-6)
    unpaired = compare(*sides, resamples=1000)
    assert paired.p_runs < unpaired.p_runs / 10
    assert (paired.difference, paired.p_bootstrap) == (unpaired.difference, unpaired.p_bootstrap)


def test_a_pair_of_runs_is_no_sample():
    one, other = np.random.default_rng(1).normal(size=(2, 1, 50))
    assert compare(*means(one, other), paired_runs=True, resamples=1000) == compare(*means(one, other), resamples=1000)


def test_pairs_with_a_single_run():
    """It is taken as it is, as if it stood in every pair."""
    for seed in range(20):
        base, system = 80 + np.random.default_rng(seed).normal(size=(2, 3, 50))
        for sides in (means(system, base[:1]), means(base[:1], system)):
            fixed = compare(*sides, paired_runs=True, resamples=1000)
            assert fixed == compare(*sides, resamples=1000), "other steps than without pairs round otherwise"
    repeated = compare(*means([base[0]] * 3, system), paired_runs=True, resamples=1000)
    assert fixed.p_runs == pytest.approx(repeated.p_runs, rel=1e-6)


def test_runs_without_a_partner():
    with pytest.raises(ValueError, match="runs are paired where there are as many of each side, not 3 and 2"):
        compare(*means(np.ones((3, 9)), np.ones((2, 9))), paired_runs=True)


# False positives: seed 1, chosen before any rate was seen


def comparisons(nulls, runs=(1, 1)):
    """Results of comparing systems that do not differ; nulls(rng, runs) makes the two sides."""
    rng = np.random.default_rng(1)
    return [compare(*nulls(rng, runs), resamples=1000, seed=seed) for seed in range(NULLS)]


def rate(results, name: str, level: float) -> float:
    return np.mean([getattr(result, name) < level for result in results])


def assert_at_most_nominal(results, name: str) -> None:
    """The rate of false positives is at most the nominal level, but for the chance of drawing 200 nulls.

    A test that holds its level exactly exceeds it in two samples of nulls out of five; a sample that it exceeds
    with a probability of less than 1% speaks against the test.
    """
    for level in (0.05, 0.01):
        count = round(NULLS * rate(results, name, level))
        assert stats.binomtest(count, NULLS, level, alternative="greater").pvalue > 0.01, (name, level, count)
        assert rate(results, name, 0.5) == pytest.approx(0.5, abs=0.12)  # nor does it hold by never rejecting


def test_false_positives_of_means():
    def nulls(rng, runs):
        sentences = rng.normal(80, 5, size=200)
        return means(*(sentences + rng.normal(size=(k, 200)) for k in runs))

    results = comparisons(nulls)
    assert_at_most_nominal(results, "p_bootstrap")
    assert_at_most_nominal(results, "p_randomization")
    covered = sum(result.interval[0] <= 0 <= result.interval[1] for result in results)
    assert stats.binomtest(covered, NULLS, 0.95, alternative="less").pvalue > 0.01


def test_false_positives_of_bleu(real_pairs):
    """Two systems whose outputs were dealt out by a coin, on sentences drawn from real ones."""
    references = real_pairs[1]
    outputs = [bleu_evidence(BLEU(), lossy(references, 0.8, salt), references).statistics for salt in (1, 2)]

    def nulls(rng, runs):
        drawn, coins = rng.integers(200, size=200), rng.integers(2, size=(200, 1))
        one, other = (output[drawn] for output in outputs)
        dealt = np.where(coins, one, other), np.where(coins, other, one)
        return [[Evidence(statistics, bleu_from_statistics)] for statistics in dealt]

    results = comparisons(nulls)
    assert_at_most_nominal(results, "p_bootstrap")
    assert_at_most_nominal(results, "p_randomization")


@pytest.mark.parametrize("runs", [(3, 3), (3, 1)])
def test_false_positives_over_runs(runs):
    """Systems whose runs vary around the same mean, or around a fixed baseline; a bootstrap over sentences errs."""

    def nulls(rng, runs):
        sentences = rng.normal(80, 5, size=200)
        sides = []
        for k in runs:
            run_effects = rng.normal(scale=0.3, size=(k, 1)) if k > 1 else 0
            sides.append(sentences + rng.normal(size=200) + run_effects + rng.normal(size=(k, 200)))
        return means(*sides)

    results = comparisons(nulls, runs)
    assert rate(results, "p_runs", 0.05) <= 0.05 and rate(results, "p_runs", 0.01) <= 0.01
    assert rate(results, "p_runs", 0.5) == pytest.approx(0.5, abs=0.12)
    assert rate(results, "p_bootstrap", 0.05) > 0.1  # of these runs it may be right, of the systems it is not


def test_false_positives_over_paired_runs():
    """Pairs that share what their seed does, and differ by a bit of their own."""

    def nulls(rng):
        shared = rng.normal(80, 5, size=200) + rng.normal(scale=0.5, size=(3, 1))
        return means(*(shared + rng.normal(size=200) + rng.normal(scale=0.05, size=(3, 1)) for _ in range(2)))

    rng = np.random.default_rng(1)
    results = [compare(*nulls(rng), paired_runs=True, resamples=1000, seed=seed) for seed in range(NULLS)]
    assert_at_most_nominal(results, "p_runs")


# sacrebleu's own tests


def test_sacrebleus_p_are_its_own(real_pairs, monkeypatch, capfd):
    references = real_pairs[1][:60]
    system, baseline = lossy(references, 0.8, 1), lossy(references, 0.8, 2)
    monkeypatch.setenv("SACREBLEU_SEED", "99")
    p, other = (sacrebleu_p(BLEU(), system, baseline, references, seed=seed) for seed in (7, 8))
    assert p["bootstrap"] != other["bootstrap"] and p["randomization"] != other["randomization"]
    monkeypatch.setenv("SACREBLEU_SEED", "7")
    for name, kind in (("bootstrap", "bs"), ("randomization", "ar")):
        systems = [("baseline", baseline), ("system", system)]
        _, results = PairedTest(systems, {"BLEU": BLEU()}, [references], test_type=kind)()
        assert p[name] == results["BLEU"][1].p_value
    assert capfd.readouterr() == ("", "")


# Bad input


def test_bad_input():
    good, other = mean_evidence([1.0, 2.0, 3.0]), mean_evidence([1.0, 2.0])
    bleu = bleu_evidence(BLEU(), ["a", "b", "c"], ["a", "b", "c"])
    cases = [
        (lambda: compare([good], [other]), r"\(2, 2\) and \(3, 2\)"),
        (lambda: compare([good, other], [good]), r"\(2, 2\) and \(3, 2\)"),
        (lambda: compare([good], [bleu]), r"\(3, 2\) and \(3, 10\)"),
        (lambda: compare([], [good]), "at least one run"),
        (lambda: interval([]), "at least one run"),
        (lambda: compare([good], [good], resamples=0), "resamples must be at least 1, not 0"),
        (lambda: mean_evidence([1.0]), "at least two sentences"),
        (lambda: mean_evidence([]), "at least two sentences"),
        (lambda: bleu_evidence(BLEU(), [], []), "at least two sentences"),
        (lambda: mean_evidence([1.0, float("nan"), 2.0]), "sentence 2 is not a finite number"),
        (lambda: mean_evidence([1.0, 2.0, float("inf")]), "sentence 3 is not a finite number"),
        (lambda: bleu_evidence(BLEU(), ["a", "b"], ["a"]), "2 hypotheses and 1 references"),
        (lambda: sacrebleu_p(BLEU(), ["a", "b"], ["a"], ["a", "b"]), "2 and 1 hypotheses and 2 references"),
        (lambda: sacrebleu_p(BLEU(), ["a"], ["a"], ["a"], seed=0), "at least 1, not 0"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
