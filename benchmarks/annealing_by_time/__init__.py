"""A learning rate that falls to zero by the time that a training may take, a plug-in for fairseq of its own.

    fairseq-train DIR --user-dir benchmarks/annealing_by_time --lr-scheduler annealing_by_time \\
        --warmup-updates 800 --stop-time-hours 0.05 ...

For gpu.sh: how many updates a machine makes in three minutes is not known before. It comes with fairseq_bertloss, so
that checkpoints are read as with that.
"""

import time
from dataclasses import dataclass, field

from fairseq.dataclass import FairseqDataclass
from fairseq.optim.lr_scheduler import FairseqLRScheduler, register_lr_scheduler
from omegaconf import II

import fairseq_bertloss

fairseq_bertloss.register()

AT_ZERO = 0.02
"""Share of the time at its end in which the rate is 0: fairseq's clock begins before the scheduler's."""


@dataclass
class AnnealingByTimeConfig(FairseqDataclass):
    warmup_updates: int = field(default=0, metadata={"help": "updates over which the learning rate rises from 0"})
    stop_time_hours: float = II("optimization.stop_time_hours")
    lr: list[float] = II("optimization.lr")


@register_lr_scheduler("annealing_by_time", dataclass=AnnealingByTimeConfig)
class AnnealingByTime(FairseqLRScheduler):
    """A linear rise over updates, times a linear fall over the time until --stop-time-hours.

    Raises:
        ValueError: there is no --stop-time-hours.
    """

    def __init__(self, cfg: AnnealingByTimeConfig, optimizer):
        super().__init__(cfg, optimizer)
        if cfg.stop_time_hours <= 0:
            raise ValueError("--lr-scheduler annealing_by_time needs --stop-time-hours, when the learning rate is 0")
        self._start = time.monotonic()
        self._seconds = (1 - AT_ZERO) * 3600 * cfg.stop_time_hours
        self.step_update(0)

    def step_update(self, num_updates: int) -> float:
        """Sets the learning rate after an update."""
        risen = min(1.0, (num_updates + 1) / (self.cfg.warmup_updates + 1))
        left = max(0.0, 1 - (time.monotonic() - self._start) / self._seconds)
        self.optimizer.set_lr(self.cfg.lr[0] * risen * left)
        return self.optimizer.get_lr()
