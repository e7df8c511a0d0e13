"""A token bucket: how long a sender has to wait, and nothing else. The caller brings the time."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Bucket:
    """`rate` tokens a second flow in, at most `burst` are kept; debt is allowed, and is the time to wait.

    >>> bucket = Bucket(rate=10, burst=20)
    >>> bucket.take(20, now=0.0)
    0.0
    >>> bucket.take(5, now=0.0)
    0.5
    """

    rate: float
    burst: float
    level: float = field(init=False)
    at: float = field(init=False, default=float("-inf"))

    def __post_init__(self) -> None:
        self.level = self.burst

    def take(self, count: float, now: float) -> float:
        """Take `count` tokens at `now` (s, monotonic); return the seconds to wait until the debt is paid (0 = go on)."""
        self.level = min(self.burst, self.level + (now - self.at) * self.rate) - count
        self.at = now
        return max(0.0, -self.level / self.rate)

    def give_back(self, count: float) -> None:
        """Return tokens of a request that was refused: being refused is not to push the next one further away."""
        self.level += count
