"""Motion of objects and camera in the synthetic clips, stepped frame by frame.

Bodies change speed and direction at random, rotate, vary in size, and bounce at the limits of their
area. For some this area extends beyond the image, so that they leave and return; some start outside
and enter later. Lengths are shares of the image's shorter side, times are frames.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

__all__ = ["Body", "Camera"]

_Vector = tuple[float, float]

SPEED = 0.004, 0.018
"""Most objects cross the image in two to eight seconds of 30 frames each."""
SPIN = 0.08
"""Greatest rotation per frame in radians."""
SIZE_CHANGE = 0.25
"""Greatest relative change of size."""


@dataclass(frozen=True, slots=True)
class Body:
    """Position, shape and motion of an object on one frame."""

    center_xy: _Vector
    velocity_xy: _Vector
    angle: float
    """Radians."""
    spin: float
    """Radians per frame."""
    size: float
    """Mean circumscribed radius."""
    size_change: float
    """Amplitude of the radius's oscillation, as a share of the mean."""
    size_phase: float
    """Phase of the oscillation in radians."""
    size_rate: float
    """Radians of the oscillation per frame."""
    speed: float
    """Speed that the velocity returns to."""
    margin: float
    """Greatest distance of the center outside the image; negative keeps it inside."""
    delay: int
    """Frames until it starts to move."""

    @classmethod
    def draw(cls, rng: np.random.Generator, extent_xy: _Vector, size: float, delay: int) -> Body:
        """A random body within ``extent_xy``, or just outside and heading in if it has a delay."""
        leaves_image = delay > 0 or rng.random() < 0.35
        size_change = rng.uniform(0, SIZE_CHANGE)
        margin = (1.0 + size_change) * size + 0.03 if leaves_image else -0.45 * size
        speed = rng.uniform(*SPEED)
        inside = (rng.uniform(0.15, 0.85) * extent_xy[0], rng.uniform(0.15, 0.85) * extent_xy[1])
        heading = rng.uniform(0, 2 * np.pi)
        center = inside
        if delay:
            speed = max(speed, 0.01)
            center = _entry_point(inside, heading + np.pi, extent_xy, margin)
        return cls(
            center_xy=center,
            velocity_xy=(speed * float(np.cos(heading)), speed * float(np.sin(heading))),
            angle=rng.uniform(0, 2 * np.pi),
            spin=rng.uniform(-SPIN, SPIN) * float(rng.random() < 0.7),
            size=size,
            size_change=size_change,
            size_phase=rng.uniform(0, 2 * np.pi),
            size_rate=2 * np.pi / rng.uniform(30, 90),
            speed=speed,
            margin=margin,
            delay=delay,
        )

    @property
    def radius(self) -> float:
        """Circumscribed radius on this frame."""
        return self.size * (1 + self.size_change * float(np.sin(self.size_phase)))

    def step(self, rng: np.random.Generator, extent_xy: _Vector) -> Body:
        """The body one frame later."""
        if self.delay:
            return replace(self, delay=self.delay - 1)
        x_speed, y_speed = self._perturbed_velocity(rng)
        x, x_speed = _bounce(self.center_xy[0] + x_speed, x_speed, extent_xy[0], self.margin)
        y, y_speed = _bounce(self.center_xy[1] + y_speed, y_speed, extent_xy[1], self.margin)
        return replace(
            self,
            center_xy=(x, y),
            velocity_xy=(x_speed, y_speed),
            angle=self.angle + self.spin,
            spin=float(np.clip(self.spin * (1 + 0.1 * rng.standard_normal()), -SPIN, SPIN)),
            size_phase=self.size_phase + self.size_rate,
        )

    def _perturbed_velocity(self, rng: np.random.Generator) -> _Vector:
        """The velocity after a small random change, pulled back to the body's own speed."""
        changed = np.array(self.velocity_xy) + 0.12 * self.speed * rng.standard_normal(2)
        speed = max(float(np.hypot(*changed)), 1e-9)
        x, y = changed * (1 + 0.2 * (self.speed / speed - 1))
        return float(x), float(y)


@dataclass(frozen=True, slots=True)
class Camera:
    """A slowly panning, shaking camera."""

    pan: float
    """Amplitude of the pan."""
    rate_xy: _Vector
    """Radians of pan per frame."""
    phase_xy: _Vector
    """Radians."""
    shake: float
    """Standard deviation of the shake."""

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Camera:
        """A random camera; one of three does not move."""
        moves = rng.random() < 0.67
        return cls(
            pan=rng.uniform(0.02, 0.15) if moves else 0.0,
            rate_xy=(2 * np.pi / rng.uniform(60, 180), 2 * np.pi / rng.uniform(60, 180)),
            phase_xy=(rng.uniform(0, 2 * np.pi), rng.uniform(0, 2 * np.pi)),
            shake=rng.uniform(0, 0.004) if moves else 0.0,
        )

    @property
    def reach(self) -> float:
        """Bound of the offset in x and in y."""
        return self.pan + 3 * self.shake

    def offset(self, rng: np.random.Generator, frame: int) -> _Vector:
        """Position of the image's upper left corner; ``rng`` gives the shake."""
        shake_xy = self.shake * np.clip(rng.standard_normal(2), -3, 3)
        x, y = (
            self.pan * np.sin(phase + rate * frame) + shake
            for phase, rate, shake in zip(self.phase_xy, self.rate_xy, shake_xy, strict=True)
        )
        return float(x), float(y)


def _entry_point(inside: _Vector, heading: float, extent_xy: _Vector, margin: float) -> _Vector:
    """Where the ray from a point inside meets the rectangle ``margin`` outside the image."""
    direction = float(np.cos(heading)), float(np.sin(heading))
    distance = min(
        ((limit + margin if step > 0 else -margin) - start) / step
        for start, step, limit in zip(inside, direction, extent_xy, strict=True)
        if abs(step) > 1e-9
    )
    return inside[0] + distance * direction[0], inside[1] + distance * direction[1]


def _bounce(at: float, speed: float, limit: float, margin: float) -> tuple[float, float]:
    """A coordinate reflected at ``-margin`` and ``limit + margin``, and its speed."""
    low, high = -margin, limit + margin
    if at < low:
        return 2 * low - at, abs(speed)
    if at > high:
        return 2 * high - at, -abs(speed)
    return at, speed
