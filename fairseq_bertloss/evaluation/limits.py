"""Every threshold of what the report says in words: as good as the control, collapsed, weak.

Scores and shares are in percent and differ by points. Differences count with as many digits as the tables print.
"""

MOST_LOST = {"f_bert": 0.0, "moverscore": 0.0, "chrf": 0.0, "bleu": 0.3}
"""As good as the control all round: so many points below the control's at the most."""

MOST_REPEATED = 1.0
"""As good as the control all round, and no collapse: at most so many points of repeated bigrams above the control's."""

LENGTH_TOLERANCE = 0.1
"""A collapse: a length ratio that lies further from 1 than the control's does by more than this."""

LEAST_DISTINCT = 0.8
"""A collapse: a smaller share of the control's distinct outputs."""

LEAST_ENTROPY = 0.2
"""A collapse: a smaller share of the control's mean entropy at inference.

Soft predictions take more than a third of it away without a collapse (docs/results.md).
"""

LEAST_BLEU = 3.0
"""Below it, systems hardly translate, and which is better says nothing; a collapse where the control is above."""

WEAK_LENGTH_RATIOS = 0.8, 1.2
"""A baseline or a control outside is weak."""

WEAK_DISTINCT = 0.5
"""A baseline or a control with a smaller share of the references' distinct lines is weak."""

WEAK_REPEATED = 5.0
"""A baseline or a control with more points of repeated bigrams above the references' is weak."""
