"""The rows of benchmarks/effect.py: what each fine-tuning adds to the common options; and its decodings.

docs/results/notebook.md says what chose which of them.
"""

CROSS_ENTROPY = "--criterion label_smoothed_cross_entropy --label-smoothing 0.1"
"""The criterion of baselines and controls."""

BASELINE = "baseline"
"""The row that the others go on from."""

PAPER = "--objective soft --cross-entropy-weight 0 --end-of-sentence scored"
SMOOTHED = "--label-smoothing 0.1 --cross-entropy-weight"
RISK = "--objective risk --candidates 5 --sampled-candidates 0 --cross-entropy-weight 0 --lm-dtype bfloat16"
SAMPLED = '--candidate-generation-args {"sampling":true,"sampling_topk":10}'

REFERENCES = "REFERENCES"
"""Stands for the file of the training text."""

CANDIDATES = "CANDIDATES"
"""Stands for the folder where candidates are kept."""

ENTROPY_BONUS = "ENTROPY_BONUS"
"""Stands for the plug-in beside this file."""

BONUS = f"--user-dir {ENTROPY_BONUS} --criterion entropy_bonus --entropy-bonus"

STUDY = "--objective risk --candidates 4 --sampled-candidates 1 --dropout 0 --lm-dtype bfloat16"
SCALED = f"{STUDY} --reward-matching one-to-one --reward-scale min-max"
MIX = f"{SCALED} {SMOOTHED}"
TOP_P = '--candidates 5 --sampled-candidates 0 --candidate-generation-args {"sampling":true,"sampling_topp":0.9}'
SOFT = "--objective soft --soft-prediction gumbel_softmax --dropout 0"

UPDATES = 300

_ROWS = {
    "control": CROSS_ENTROPY,  # with dropout
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
    "ce-0.1": f"{PAPER} {SMOOTHED} 0.1",
    "ce-0.5": f"{PAPER} {SMOOTHED} 0.5",
    "ce-0.9": f"{PAPER} {SMOOTHED} 0.9",
    "smoothing-0.5": f"{PAPER} --label-smoothing 0.5 --cross-entropy-weight 0.1",
    "entropy-bonus-0.01": f"{PAPER} {BONUS} 0.01",
    "entropy-bonus-0.1": f"{PAPER} {BONUS} 0.1",
    "recall": f"{PAPER} --score recall",
    "idf": f"{PAPER} --bert-idf {REFERENCES}",
    "layer-2": f"{PAPER} --bert-layer 2",
    "layer-6": f"{PAPER} --bert-layer 6",
    "no-dropout": f"{PAPER} --dropout 0",
    "no-dropout-control": f"{CROSS_ENTROPY} --dropout 0",
    "free-running": f"{PAPER} --free-running",
    "free-running-top-10": f'{PAPER} --free-running --candidate-generation-args {{"sampling_topk":10}}',
    # Minimum risk, and one factor at a time from it.
    "risk": RISK,
    "risk-no-dropout": f"{RISK} --dropout 0",
    "risk-10": f"{RISK} --candidates 10",
    "risk-ce-0.01": f"{RISK} {SMOOTHED} 0.01",
    "risk-ce-0.03": f"{RISK} {SMOOTHED} 0.03",
    "risk-ce-0.2": f"{RISK} {SMOOTHED} 0.2",
    "risk-alpha-10": f"{RISK} --risk-alpha 10",
    "risk-reference": f"{RISK} --reference-among-candidates",
    "risk-sampled": f"{RISK} {SAMPLED}",
    "risk-sampled-10": f"{RISK} {SAMPLED} --candidates 10",
    "risk-sampled-no-dropout": f"{RISK} {SAMPLED} --dropout 0",
    "risk-gumbel": f"{RISK} --candidates 4 --sampled-candidates 1",
    "risk-gumbel-no-dropout": f"{RISK} --candidates 4 --sampled-candidates 1 --dropout 0",
    "risk-gumbel-no-dropout-context": (
        f"{RISK} --candidates 4 --sampled-candidates 1 --dropout 0 --end-of-sentence context"
    ),
    "risk-gumbel-10-no-dropout": f"{RISK} --candidates 8 --sampled-candidates 2 --dropout 0",
    "risk-precision": f"{RISK} --score precision",
    "risk-idf": f"{RISK} --bert-idf {REFERENCES}",
    # Risk mixed with cross-entropy, and one factor at a time from mix-0.2.
    "mix-0": f"{SCALED} --cross-entropy-weight 0",
    "mix-0.1": f"{MIX} 0.1",
    "mix-0.2": f"{MIX} 0.2",
    "mix-0.5": f"{MIX} 0.5",
    "mix-0.2-greedy": f"{MIX} 0.2 --reward-matching greedy",
    "mix-0.2-std": f"{MIX} 0.2 --reward-scale std",
    "mix-0.2-unscaled": f"{MIX} 0.2 --reward-scale none",
    "mix-0.2-left-out": f"{MIX} 0.2 --unfinished-candidates left-out",
    "mix-0.2-lowest": f"{MIX} 0.2 --unfinished-candidates lowest",
    "mix-0.2-cached": f"{MIX} 0.2 --cache-candidates {CANDIDATES}",
    "mix-0.2-8": f"{MIX} 0.2 --candidates 8 --sampled-candidates 2",
    "mix-0.2-top-p": f"{MIX} 0.2 {TOP_P}",
    "mix-0.2-alpha": f"{MIX} 0.2 --risk-alpha 5",
    # Cross-entropy of the candidate that the reward finds best, beside the reference's.
    "mix-0.2-best": f"{MIX} 0.2 --best-candidate",
    "mix-0.5-best": f"{MIX} 0.5 --best-candidate",
    # Risk alone, beside risk-gumbel-no-dropout, which is that by greedy matching.
    "risk-one-to-one": f"{STUDY} --reward-matching one-to-one --reward-scale none --cross-entropy-weight 0",
    # Soft predictions without dropout, alone and mixed, by either matching.
    "soft-0": f"{SOFT} --reward-matching greedy --cross-entropy-weight 0",
    "soft-0-one-to-one": f"{SOFT} --reward-matching one-to-one --cross-entropy-weight 0",
    "soft-0.5": f"{SOFT} --reward-matching greedy {SMOOTHED} 0.5",
    "soft-0.5-one-to-one": f"{SOFT} --reward-matching one-to-one {SMOOTHED} 0.5",
}

CONTROL, STRONG_CONTROL = "control", "no-dropout-control"
"""Cross-entropy continued with dropout, and without it, which alone gains most of what there is to gain."""

BEAM_5, AVERAGED, INTERPOLATED, FORCED = "beam5", "averaged", "interpolated", "forced"

DECODINGS = {
    BEAM_5: "",
    "beam1": "--beam 1",
    "beam10": "--beam 10",
    "lenpen0.6": "--lenpen 0.6",
    "lenpen1.5": "--lenpen 1.5",
    "lenpen2": "--lenpen 2",
    "temperature1.5": "--temperature 1.5",
    AVERAGED: "",  # the last five of ten checkpoints along the way
    f"{AVERAGED}-lenpen0.6": "--lenpen 0.6",
    INTERPOLATED: "",  # halfway between that mean and the baseline
    f"{INTERPOLATED}-0.33": "",  # a third of the way
    FORCED: "",  # no search: the references' probabilities
}
"""fairseq-generate's options, after what BASELINE_WEIGHT and FORCED say."""

BASELINE_WEIGHT = {AVERAGED: None, f"{AVERAGED}-lenpen0.6": None, INTERPOLATED: 0.5, f"{INTERPOLATED}-0.33": 0.33}
"""Decodings by a mean of the checkpoints along the way: the weight of the baseline in it, None without."""


def options(row: str) -> list[str]:
    """fairseq-train's, of a row; `ROW@LR` and `ROW@LRxUPDATES` set the learning rate and the number of updates.

    Raises:
        ValueError: there is no such row.
    """
    name, _, schedule = row.partition("@")
    if name not in _ROWS:
        raise ValueError(
            f"there is no row {name!r}; there are {', '.join(_ROWS)}, each also as ROW@LR or ROW@LRxUPDATES"
        )
    rate, _, updates = schedule.partition("x")
    updates = int(updates or UPDATES)
    schedule = [
        "--lr",
        rate or "1e-4",
        "--max-update",
        str(updates),
        "--save-interval-updates",
        str(max(1, updates // 10)),
    ]
    return [*_ROWS[name].split(), *schedule]


def control_of(row: str) -> str | None:
    """The strong control with a row's learning rate and updates; None for the baseline."""
    if row == BASELINE:
        return None
    _, at, schedule = row.partition("@")
    return f"{STRONG_CONTROL}{at}{schedule}"


def controls_of(row: str) -> list[str]:
    """What a row is to be seen beside: of one that trains with dropout, the control with dropout as well.

    Raises:
        ValueError: there is no such row.
    """
    if row == BASELINE:
        return []
    _, at, schedule = row.partition("@")
    weaker = [] if "--dropout" in options(row) else [f"{CONTROL}{at}{schedule}"]
    return [*weaker, control_of(row)]
