"""One of the processes that share a study: share_study.py STORAGE TRIALS RESULT [MARK NUMBER]

It writes what `search.run` returned as JSON. With MARK and NUMBER it stops for good within the first trial of at least
this number that it gets, after it has written the number to the file MARK.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import stoop
from searches import VALIDATION, run

storage, trials, result_path, *hang = sys.argv[1:]


def callbacks(number: int) -> list[Any]:
    def look(trainer: stoop.Trainer, logs: dict[str, float]) -> None:
        time.sleep(0.005)
        if hang and number >= int(hang[1]):
            mark = Path(hang[0])
            mark.with_suffix(".new").write_text(str(number))
            mark.with_suffix(".new").replace(mark)
            time.sleep(600)

    return [stoop.callbacks.Lambda(on_epoch_end=look)]


result = run(storage=storage, trials=int(trials), method="optuna", at_once=3, callbacks=callbacks, num_threads=2)
value = result.trainer.evaluate(*VALIDATION)["loss"]
Path(result_path).write_text(json.dumps({"trials": result.trials, "best": result.best_value, "value": value}))
