"""Names of the sums over sentences and tokens that each objective logs of its own."""

SOFT_SUMS = ("f_bert", "p_bert", "r_bert", "entropy", "support", "ntokens_predicted")
"""F, precision and recall of the soft predictions, their entropy and support, and the number of predicted tokens."""

RISK_SUMS = ("f_expected", "f_first", "f_best", "candidates", "unfinished")
"""F under Q, of the first candidate and of the best one; the number of candidates, and of those that were cut."""

OBJECTIVE_SUMS = {"soft": SOFT_SUMS, "risk": RISK_SUMS}
"""The objectives, and the sums that each logs of its own."""


def not_logged(objective: str) -> set[str]:
    """The sums of the other objectives, which this one does not log."""
    return {name for names in OBJECTIVE_SUMS.values() for name in names}.difference(OBJECTIVE_SUMS[objective])
