"""Finds what lowers resolution in a network, and puts a low-pass filter before it."""

from shiftable.convert.antialias import antialias
from shiftable.convert.operations import StridedOperation, strided_operations
from shiftable.convert.placement import undo_antialias
from shiftable.convert.report import Change, Left, Report

__all__ = [
    "Change",
    "Left",
    "Report",
    "StridedOperation",
    "antialias",
    "strided_operations",
    "undo_antialias",
]
