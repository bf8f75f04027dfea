"""One of the processes that share a study: share_study.py STORAGE TRIALS RESULT [hang MARK NUMBER | meet OWN OTHER]

It writes what `search.run` returned as JSON. With "hang" it stops for good within the first trial of at least this
number that it gets, after it has written the number to the file MARK. With "meet" it makes the file OWN in its first
trial, and waits for OTHER, so that both processes get one.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import stoop
from searches import VALIDATION, run

storage, trials, result_path, *task = sys.argv[1:]


def callbacks(number: int) -> list[Any]:
    def look(trainer: stoop.Trainer, logs: dict[str, float]) -> None:
        time.sleep(0.005)
        if task[:1] == ["hang"] and number >= int(task[2]):
            mark = Path(task[1])
            mark.with_suffix(".new").write_text(str(number))
            mark.with_suffix(".new").replace(mark)
            time.sleep(600)
        if task[:1] == ["meet"]:
            Path(task[1]).touch()
            while not Path(task[2]).exists():
                time.sleep(0.01)

    return [stoop.callbacks.Lambda(on_epoch_end=look)]


result = run(storage=storage, trials=int(trials), method="optuna", at_once=3, callbacks=callbacks, num_threads=2)
value = result.trainer.evaluate(*VALIDATION)["loss"]
Path(result_path).write_text(json.dumps({"trials": result.trials, "best": result.best_value, "value": value}))
