"""What a task has learned from the validation split with the best weights, kept in the run as `calibration.json`."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from seqtrain.config import UserError
from seqtrain.engine.checkpoint import Checkpoints
from seqtrain.storage.disk import Folder

log = logging.getLogger(__name__)
FILE = "calibration.json"
LARGEST = 2**24  # bytes


def keep(checkpoints: Checkpoints, learned: dict[str, Any]) -> None:
    """Writes what `Task.calibrate` has learned, with the name of the checkpoint whose weights it belongs to."""
    content = {"checkpoint": checkpoints.named("best"), "learned": learned}
    checkpoints.files.replace(FILE, json.dumps(content, ensure_ascii=False).encode())


def kept(run: Path) -> dict[str, Any]:
    """Reads it; empty where there is none, as in an older run. Of other weights than the best ones, as after a resumed
    training that was interrupted, it is of no use, which is logged."""
    files, best = Folder(run), Checkpoints(run).named("best")
    try:
        content = json.loads(files.read(FILE, LARGEST))
        checkpoint, learned = content["checkpoint"], dict(content["learned"])
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UserError(f"{run / FILE}: damaged ({error}); without this file answers are not calibrated") from None
    if checkpoint != best:
        log.warning("%s: it belongs to other weights than the best ones, and is left out; resume=%s learns it anew",
                    run / FILE, run)  # fmt: skip
        return {}
    return learned
