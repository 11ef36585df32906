"""What a detector says of flows at or above the threshold: known attack of a family, or novel."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from netwarden.detectors.base import Detector, Matrix
from netwarden.flows.alert import VERDICTS
from netwarden.flows.truth import ATTACK

BENIGN_CODE, KNOWN_CODE, NOVEL_CODE = range(len(VERDICTS))
NO_FAMILY = -1


def judge_alerts(detector: Detector, suspects: Matrix) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int64]]:
    """Per alert, index into VERDICTS and into the detector's families, the latter NO_FAMILY unless it is known."""
    families = np.full(len(suspects), NO_FAMILY, np.int64)
    if not len(suspects):
        return np.zeros(0, np.int8), families
    known = detector.known(suspects)
    if detector.families and known.any():
        families[known] = detector.family_codes(suspects[known])
    return np.where(known, KNOWN_CODE, NOVEL_CODE).astype(np.int8), families


def name_alerts(detector: Detector, suspects: Matrix) -> npt.NDArray[np.str_]:
    """Family of each alert, `attack` where the detector cannot tell, `novel` where it is that."""
    verdicts, families = judge_alerts(detector, suspects)
    names = np.array([*detector.families, ATTACK])[families]
    return np.where(verdicts == NOVEL_CODE, VERDICTS[NOVEL_CODE], names)


def nearest_families(detector: Detector, suspects: Matrix) -> npt.NDArray[np.str_]:
    """The family that each alert is likest to, novel or not; `attack` where the detector tells none apart."""
    if not detector.families:
        return np.full(len(suspects), ATTACK)
    return np.asarray(detector.families)[detector.family_codes(suspects)]
