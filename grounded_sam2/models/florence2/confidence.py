"""Confidence of a generated box: a number in [0, 1] from the probabilities of its tokens.

Florence-2 predicts no scores. It predicts a distribution at every decoding step, from which three
factors of the confidence of a box (a phrase and four locations) can be computed:

- *Existence*: at the step where the phrase begins, the model chose between this phrase, another
  one and the end of the output. For a box that shares the phrase of the box before it, the choice
  was made at its first location.
- *Class*: the probability of the phrase's tokens.
- *Location*: the probability of the four locations. Even a confident model spreads the probability
  of an edge over neighboring bins (a thousand of them across the image), so the probability of the
  chosen bin alone is not informative: take that of its neighborhood.

Three formulas that combine them are kept side by side, so that they can be compared on any
checkpoint (``python -m embedded_training.evaluate``). On 200 held-out scenes, with all 36 captions
requested of each, the embedded model scored

=============  =====  ==========================
formula        AUROC  expected calibration error
=============  =====  ==========================
tokens_only    0.916  0.753
weakest_link   0.942  0.025
geometric      0.966  0.041
=============  =====  ==========================

`geometric` separates best and is calibrated well enough, so the detector uses it. A chosen bin
alone rarely has a high probability, which is why `tokens_only` is far too low.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from grounded_sam2.models.florence2.decoding import GeneratedOutput
from grounded_sam2.models.florence2.output_parsing import ParsedBox

__all__ = ["CONFIDENCE_FORMULAS", "confidence", "geometric", "tokens_only", "weakest_link"]


def tokens_only(output: GeneratedOutput, box: ParsedBox) -> float:
    """Geometric mean of the probabilities of all tokens of the box, without neighborhoods."""
    steps = [*box.phrase_steps, *box.location_steps]
    return float(np.exp(np.log(output.probability[steps] + 1e-12).mean()))


def geometric(output: GeneratedOutput, box: ParsedBox) -> float:
    """Existence and class, times the geometric mean of the four neighborhoods."""
    masses = output.neighborhood_probability[list(box.location_steps)]
    return _existence_and_class(output, box) * float(np.exp(np.log(masses + 1e-12).mean()))


def weakest_link(output: GeneratedOutput, box: ParsedBox) -> float:
    """Existence and class, times the least probable of the four neighborhoods."""
    return _existence_and_class(output, box) * float(
        output.neighborhood_probability[list(box.location_steps)].min()
    )


def _existence_and_class(output: GeneratedOutput, box: ParsedBox) -> float:
    """Probability that the object exists and has this phrase as its class.

    The least probable token of the phrase, not their product: a long name is no less true than a
    short one. At most the probability that the output did not end at the first location of the
    box, which bounds the later boxes of a shared phrase.
    """
    names = output.probability[list(box.phrase_steps)]
    not_ended = 1 - output.end_probability[box.location_steps[0]]
    return float(min(names.min(initial=1.0), not_ended))


CONFIDENCE_FORMULAS: dict[str, Callable[[GeneratedOutput, ParsedBox], float]] = {
    "tokens_only": tokens_only,
    "geometric": geometric,
    "weakest_link": weakest_link,
}

confidence = geometric
