"""The variance ratio: how far shifts move an answer, against how far images do."""

import numpy as np

from shiftable.intervals import SEED, Estimate
from shiftable.metrics.summary import Outcomes, in_parts

_RESAMPLES = 500


def variance_ratio(outcomes: Outcomes) -> Estimate:
    """Estimates the normalised variance of the confidence: 0 for a shift-invariant network.

    The mean over images of the standard deviation over shifts of the most probable class's
    probability, over the mean over shifts of its standard deviation over images; 1 where both are
    0. Not for random groups, whose shifts differ from image to image.

    Its interval is by a Poisson bootstrap (500 resamples, seeded by each image's number), which
    needs no image twice and no more memory for more images.

    References:
        Quiroga et al., Measuring (in)variances in convolutional networks (2019): normalised
        variance.
    """
    count = 0
    within = deviation = np.zeros(0)
    sums = squares = np.zeros((0, 0))
    weights = np.zeros(0)
    for outcome in in_parts(outcomes):
        if outcome.sweep.plan.group:
            return Estimate(None, None, None, 0)
        values = outcome.probability.astype(np.float64)
        drawn = np.stack(
            [
                np.concatenate(
                    [[1.0], np.random.default_rng((SEED, outcome.first + n)).poisson(1, _RESAMPLES)]
                )
                for n in range(len(values))
            ],
            axis=1,
        )  # (1 + resamples, N): the first row is the images themselves
        if count == 0:
            within = np.zeros(len(drawn))
            weights = np.zeros(len(drawn))
            sums = np.zeros((len(drawn), values.shape[1]))
            squares = np.zeros_like(sums)
        count += len(values)
        within += drawn @ values.std(1)
        weights += drawn.sum(1)
        sums += drawn @ values
        squares += drawn @ values**2
    if count == 0:
        return Estimate(None, None, None, 0)
    weights = np.where(weights > 0, weights, np.nan)  # a resample of no image says nothing
    spread = squares / weights[:, None] - (sums / weights[:, None]) ** 2
    deviation = np.sqrt(np.maximum(spread, 0)).mean(1)
    mean = within / weights
    tiny = 1e-7  # below the rounding of float32 probabilities there is no deviation
    ratio = np.where(
        deviation > tiny, mean / np.maximum(deviation, tiny), np.where(mean > tiny, np.inf, 1.0)
    )
    if count == 1 or not np.isfinite(ratio[0]):
        return Estimate(
            float(ratio[0]) if count > 1 and np.isfinite(ratio[0]) else None, None, None, count
        )
    low, high = np.quantile(ratio[1:][np.isfinite(ratio[1:])], [0.025, 0.975])
    return Estimate(float(ratio[0]), float(low), float(high), count)
