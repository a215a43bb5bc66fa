"""The thresholds behind the report's words: as good as the control, collapsed, weak.

Scores and shares are in percent and differ by points. Differences count with as many digits as the tables print.
"""

MOST_LOST = {"f_bert": 0.0, "moverscore": 0.0, "chrf": 0.0, "bleu": 0.3}
"""As good as the control all round: no metric lies further below the control's than by these points."""

MOST_REPEATED = 1.0
"""As good as the control all round, and no collapse: repeated bigrams lie above the control's by no more points."""

LENGTH_TOLERANCE = 0.1
"""A collapse: a length ratio that lies further from 1 than the control's does by more than this."""

LEAST_DISTINCT = 0.8
"""A collapse: less than this share of the control's distinct outputs."""

LEAST_ENTROPY = 0.2
"""A collapse: less than this share of the control's mean entropy at inference.

Soft predictions take more than a third of it away without a collapse (docs/results/notebook.md).
"""

LEAST_BLEU = 3.0
"""Systems with less hardly translate, and it says nothing which is better; a collapse where the control has more."""

WEAK_LENGTH_RATIOS = 0.8, 1.2
"""A baseline or a control is weak if its length ratio lies outside."""

WEAK_DISTINCT = 0.5
"""A baseline or a control is weak if it has less than this share of the references' distinct lines."""

WEAK_REPEATED = 5.0
"""A baseline or a control is weak if its repeated bigrams lie above the references' by more points."""
