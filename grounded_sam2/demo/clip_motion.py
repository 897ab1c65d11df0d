"""How things move in the synthetic clips: values that step from frame to frame.

Bodies wander: they speed up, slow down and turn, spin, breathe in size, and turn round at the
edges of where they may be. Some may be outside of the image, so that they leave and come back;
some begin there, and enter later. Lengths are shares of the image's shorter side, times are
frames.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

__all__ = ["Body", "Camera"]

_Vector = tuple[float, float]

SPEED = 0.004, 0.018
"""Most objects cross the image in two to eight seconds of 30 frames each."""
SPIN = 0.08
"""Greatest turn per frame in radians."""
BREATH = 0.25
"""Greatest change of size."""


@dataclass(frozen=True, slots=True)
class Body:
    """Where a thing is, and where it goes."""

    center_xy: _Vector
    velocity_xy: _Vector
    angle: float
    """Radians."""
    spin: float
    """Radians per frame."""
    size: float
    """Mean circumscribed radius."""
    breath: float
    """Greatest change of the radius, as a share of it."""
    phase: float
    """Of the breath, in radians."""
    pace: float
    """Radians of breath per frame."""
    speed: float
    """What the velocity tends to."""
    margin: float
    """How far outside of the image its center may be; negative keeps it inside."""
    waits: int
    """Frames until it begins to move."""

    @classmethod
    def draw(cls, rng: np.random.Generator, extent_xy: _Vector, size: float, waits: int) -> Body:
        """Choose a body within ``extent_xy``, or just outside and heading in if it waits."""
        roams = waits > 0 or rng.random() < 0.35
        breath = rng.uniform(0, BREATH)
        margin = (1.0 + breath) * size + 0.03 if roams else -0.45 * size
        speed = rng.uniform(*SPEED)
        inside = (rng.uniform(0.15, 0.85) * extent_xy[0], rng.uniform(0.15, 0.85) * extent_xy[1])
        heading = rng.uniform(0, 2 * np.pi)
        center = inside
        if waits:
            speed = max(speed, 0.01)
            center = _beyond(inside, heading + np.pi, extent_xy, margin)
        return cls(
            center_xy=center,
            velocity_xy=(speed * float(np.cos(heading)), speed * float(np.sin(heading))),
            angle=rng.uniform(0, 2 * np.pi),
            spin=rng.uniform(-SPIN, SPIN) * float(rng.random() < 0.7),
            size=size,
            breath=breath,
            phase=rng.uniform(0, 2 * np.pi),
            pace=2 * np.pi / rng.uniform(30, 90),
            speed=speed,
            margin=margin,
            waits=waits,
        )

    @property
    def radius(self) -> float:
        """Circumscribed radius now."""
        return self.size * (1 + self.breath * float(np.sin(self.phase)))

    def step(self, rng: np.random.Generator, extent_xy: _Vector) -> Body:
        """Where it is one frame later."""
        if self.waits:
            return replace(self, waits=self.waits - 1)
        x_speed, y_speed = self._turned(rng)
        x, x_speed = _bounced(self.center_xy[0] + x_speed, x_speed, extent_xy[0], self.margin)
        y, y_speed = _bounced(self.center_xy[1] + y_speed, y_speed, extent_xy[1], self.margin)
        return replace(
            self,
            center_xy=(x, y),
            velocity_xy=(x_speed, y_speed),
            angle=self.angle + self.spin,
            spin=float(np.clip(self.spin * (1 + 0.1 * rng.standard_normal()), -SPIN, SPIN)),
            phase=self.phase + self.pace,
        )

    def _turned(self, rng: np.random.Generator) -> _Vector:
        """Its velocity after a small push, drawn back to its own speed."""
        pushed = np.array(self.velocity_xy) + 0.12 * self.speed * rng.standard_normal(2)
        now = max(float(np.hypot(*pushed)), 1e-9)
        x, y = pushed * (1 + 0.2 * (self.speed / now - 1))
        return float(x), float(y)


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera that pans slowly and shakes."""

    pan: float
    """Greatest distance of the pan from where it began."""
    pace_xy: _Vector
    """Radians of pan per frame."""
    phase_xy: _Vector
    shake: float
    """Standard deviation of the shaking."""

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Camera:
        """Choose a camera; one of three stands still."""
        moves = rng.random() < 0.67
        return cls(
            pan=rng.uniform(0.02, 0.15) if moves else 0.0,
            pace_xy=(2 * np.pi / rng.uniform(60, 180), 2 * np.pi / rng.uniform(60, 180)),
            phase_xy=(rng.uniform(0, 2 * np.pi), rng.uniform(0, 2 * np.pi)),
            shake=rng.uniform(0, 0.004) if moves else 0.0,
        )

    @property
    def reach(self) -> float:
        """No offset is longer than this in x or in y."""
        return self.pan + 3 * self.shake

    def offset(self, rng: np.random.Generator, frame: int) -> _Vector:
        """Where its upper left corner is in the world; ``rng`` shakes it."""
        shaken = self.shake * np.clip(rng.standard_normal(2), -3, 3)
        x, y = (
            self.pan * np.sin(phase + pace * frame) + jerk
            for phase, pace, jerk in zip(self.phase_xy, self.pace_xy, shaken, strict=True)
        )
        return float(x), float(y)


def _beyond(inside: _Vector, heading: float, extent_xy: _Vector, margin: float) -> _Vector:
    """Where the way from a place inside meets the border ``margin`` outside of the image."""
    towards = float(np.cos(heading)), float(np.sin(heading))
    distance = min(
        ((limit + margin if step > 0 else -margin) - start) / step
        for start, step, limit in zip(inside, towards, extent_xy, strict=True)
        if abs(step) > 1e-9
    )
    return inside[0] + distance * towards[0], inside[1] + distance * towards[1]


def _bounced(at: float, speed: float, limit: float, margin: float) -> tuple[float, float]:
    low, high = -margin, limit + margin
    if at < low:
        return 2 * low - at, abs(speed)
    if at > high:
        return 2 * high - at, -abs(speed)
    return at, speed
