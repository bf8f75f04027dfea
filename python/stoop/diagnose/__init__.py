"""Says what is wrong with a training, and what to do next.

`check` runs all of it and makes one report. The faults by name: "high bias", "high variance", "data mismatch",
"overfitting to the dev set", "learning rate too high", "learning rate too low", "vanishing gradients", "exploding
gradients", "dead units", "saturated units", "symmetric units", "inputs not normalised", "class imbalance".
"""

from stoop.diagnose._analysis import ErrorAnalysis, Mistake, errors
from stoop.diagnose._calibration import Calibration, CalibrationBin
from stoop.diagnose._check import check
from stoop.diagnose._curve import Reading, history
from stoop.diagnose._findings import Finding
from stoop.diagnose._gradients import GradientFlow, LayerGradient, gradients
from stoop.diagnose._point import CriticalPoint, critical_point
from stoop.diagnose._rates import RateTrial
from stoop.diagnose._recipe import Recipe, recipe
from stoop.diagnose._report import Report
from stoop.diagnose._samples import LearningCurve, learning_curve
from stoop.diagnose._slices import SliceError
from stoop.diagnose._units import LayerUnits, Units, units

__all__ = [
    "Calibration",
    "CalibrationBin",
    "CriticalPoint",
    "ErrorAnalysis",
    "Finding",
    "GradientFlow",
    "LayerGradient",
    "LayerUnits",
    "LearningCurve",
    "Mistake",
    "RateTrial",
    "Reading",
    "Recipe",
    "Report",
    "SliceError",
    "Units",
    "check",
    "critical_point",
    "errors",
    "gradients",
    "history",
    "learning_curve",
    "recipe",
    "units",
]
