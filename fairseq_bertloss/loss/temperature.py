"""The temperature of soft predictions, which may move as training goes on."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class TemperatureSchedule:
    """A temperature that moves linearly from `start` to `end` over the first `updates` updates."""

    start: float
    end: float
    updates: int = 0

    @classmethod
    def parse(cls, text: str) -> "TemperatureSchedule":
        """Reads `0.1` (constant) or `1.0:0.1@2000` (from 1.0 to 0.1 over 2,000 updates).

        Raises:
            ValueError: neither form, or a temperature that is not positive.
        """
        number = r"(\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+)"
        match = re.fullmatch(rf"\s*{number}(?::{number}@(\d+))?\s*", text)
        if match is None:
            raise ValueError(
                f"cannot read the temperature {text!r}: write a number such as 0.1, "
                "or START:END@UPDATES such as 1.0:0.1@2000"
            )
        start = float(match[1])
        end = start if match[2] is None else float(match[2])
        if min(start, end) <= 0:
            raise ValueError(f"the temperature must be positive, not {text!r}")
        return cls(start, end, int(match[3] or 0))

    def at(self, update: int) -> float:
        """The temperature for the update that follows `update` finished ones."""
        if update >= self.updates:
            return self.end
        return self.start + (self.end - self.start) * update / self.updates
