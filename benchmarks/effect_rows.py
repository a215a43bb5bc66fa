"""The rows of benchmarks/effect.py: what each fine-tuning adds to the common options. Nothing here is chosen on a test set."""

CROSS_ENTROPY = "--criterion label_smoothed_cross_entropy --label-smoothing 0.1"
"""Of baselines and controls."""

PAPER = "--cross-entropy-weight 0 --end-of-sentence scored"
MIXED = "--cross-entropy-weight 0.5 --label-smoothing 0.1"
RISK = "--objective risk --cross-entropy-weight 0.2 --label-smoothing 0.1"

UPDATES = 200

_ROWS = {
    "control": CROSS_ENTROPY,
    # The paper's three, as the paper runs them.
    "softmax": f"--soft-prediction softmax {PAPER}",
    "sparsemax": f"--soft-prediction sparsemax {PAPER}",
    "gumbel_softmax": f"--soft-prediction gumbel_softmax {PAPER}",
    # One factor at a time, from gumbel_softmax.
    "eos-context": f"{PAPER} --end-of-sentence context",
    "eos-gold": f"{PAPER} --end-of-sentence gold",
    "temperature-0.5": f"{PAPER} --temperature 0.5",
    "temperature-annealed": f"{PAPER} --temperature 1.0:0.1@{UPDATES}",
    "gumbel-hard": f"{PAPER} --gumbel-hard",
    "ce-0.1": f"{PAPER} --cross-entropy-weight 0.1 --label-smoothing 0.1",
    "ce-0.5": f"{PAPER} --cross-entropy-weight 0.5 --label-smoothing 0.1",
    "ce-0.9": f"{PAPER} --cross-entropy-weight 0.9 --label-smoothing 0.1",
    "recall": f"{PAPER} --score recall",
    "no-dropout": f"{PAPER} --dropout 0",
    "no-dropout-control": f"{CROSS_ENTROPY} --dropout 0",
    # Minimum risk, and one factor at a time from it.
    "risk": RISK,
    "risk-no-dropout": f"{RISK} --dropout 0",
    "risk-10": f"{RISK} --candidates 10",
    "risk-alpha-0.3": f"{RISK} --risk-alpha 0.3",
    "risk-alpha-3": f"{RISK} --risk-alpha 3",
    "risk-alpha-10": f"{RISK} --risk-alpha 10",
    "risk-ce-0": f"{RISK} --cross-entropy-weight 0",
    "risk-ce-0.5": f"{RISK} --cross-entropy-weight 0.5",
    "risk-reference": f"{RISK} --reference-among-candidates",
    "risk-sampled": f'{RISK} --candidate-generation-args {{"sampling":true,"sampling_topk":10}}',
}


def options(row: str) -> list[str]:
    """fairseq-train's, of a row; `ROW@LR` and `ROW@LRxUPDATES` set the learning rate and the number of updates.

    Raises:
        ValueError: there is no such row.
    """
    name, _, schedule = row.partition("@")
    if name not in _ROWS:
        raise ValueError(f"there is no row {name!r}; there are {', '.join(_ROWS)}, each also as ROW@LR or ROW@LRxUPDATES")
    rate, _, updates = schedule.partition("x")
    return [*_ROWS[name].split(), "--lr", rate or "1e-4", "--max-update", updates or str(UPDATES)]
