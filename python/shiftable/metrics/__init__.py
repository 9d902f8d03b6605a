"""Metrics of shift variance: pure functions of outcomes, in one table."""

from shiftable.intervals import Estimate, Terms, difference, estimate
from shiftable.metrics.agreement import (
    consistency,
    consistency_given_correct,
    consistency_given_first_correct,
    consistency_with_replacement,
    group_consistency,
    group_correct,
    unanimous,
)
from shiftable.metrics.frames import class_changes, flip_rate, top5_distance, zipf_distance
from shiftable.metrics.shift_map import ShiftMap, shift_map
from shiftable.metrics.steps import (
    instability,
    mac,
    mac_label,
    mac_pairs,
    top1_change,
    total_variation,
    total_variation_pairs,
)
from shiftable.metrics.summary import (
    AtDistance,
    Outcomes,
    by_distance,
    by_image,
    in_parts,
    summary,
    terms,
)
from shiftable.metrics.table import HEADLINE, HEADLINE_WHERE_HAD, METRICS, Metric
from shiftable.metrics.truth import (
    accuracy,
    accuracy_unshifted,
    changed,
    degradation,
    label_deviation,
    label_range,
    rings,
    worst_case,
)
from shiftable.metrics.variance import variance_ratio

__all__ = [
    "HEADLINE",
    "HEADLINE_WHERE_HAD",
    "METRICS",
    "AtDistance",
    "Estimate",
    "Metric",
    "Outcomes",
    "ShiftMap",
    "Terms",
    "accuracy",
    "accuracy_unshifted",
    "by_distance",
    "by_image",
    "changed",
    "class_changes",
    "consistency",
    "consistency_given_correct",
    "consistency_given_first_correct",
    "consistency_with_replacement",
    "degradation",
    "difference",
    "estimate",
    "flip_rate",
    "group_consistency",
    "group_correct",
    "in_parts",
    "instability",
    "label_deviation",
    "label_range",
    "mac",
    "mac_label",
    "mac_pairs",
    "rings",
    "shift_map",
    "summary",
    "terms",
    "top1_change",
    "top5_distance",
    "total_variation",
    "total_variation_pairs",
    "unanimous",
    "variance_ratio",
    "worst_case",
    "zipf_distance",
]
