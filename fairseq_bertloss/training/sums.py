"""Names of the sums over sentences and tokens that are logged: of every training, and of each objective alone."""

COMMON_SUMS = (
    "_objective",
    "_cross_entropy",
    "nll_loss",
    "ce_loss",
    "accuracy",
    "p_eos_end",
    "p_eos_before",
    "ntokens_scored",
    "ntokens_before_end",
    "ntokens_end",
)
"""What the criterion logs with every objective: the parts of the loss, and statistics of the references' tokens."""

SOFT_SUMS = ("f_bert", "p_bert", "r_bert", "entropy", "support", "ntokens_predicted")
"""F, precision and recall of the soft predictions, their entropy and support, and the number of predicted tokens."""

F_SUMS = ("f_expected", "f_first", "f_best")
"""F_BERT under Q, of the first candidate and of the best one; with BERTScore among the rewards."""

CANDIDATE_SUMS = ("candidates", "unfinished")
"""The number of candidates, and of those that were cut."""

RISK_SUMS = (*F_SUMS, *CANDIDATE_SUMS)
"""What is logged of candidates beside their rewards."""

REWARD = "reward_"
"""Before a reward's name: its sum over the candidates."""

OBJECTIVE_SUMS = {"soft": SOFT_SUMS, "risk": (*RISK_SUMS, f"{REWARD}bertscore")}
"""The same by the objectives' names, for what is checked before an objective exists: it says the same as its `sums`,
where the reward is BERTScore."""


def not_logged(objective: str) -> set[str]:
    """The sums of the other objectives, which this one does not log."""
    return {name for names in OBJECTIVE_SUMS.values() for name in names}.difference(OBJECTIVE_SUMS[objective])
