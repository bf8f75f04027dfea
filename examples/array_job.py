"""Many networks in several jobs that know nothing of each other, one file each; a last step puts them together.

    sbatch --array=0-15 --cpus-per-task=4 --wrap "python examples/array_job.py results"   # Slurm
    mpiexec -n 16 python examples/array_job.py results                                    # or any MPI
    python examples/array_job.py results --merge ensemble.safetensors

Job i of n trains the networks i, i + n, i + 2n, ... with `stoop.fit_many` on the cores that it has. The file of a job
is there as a whole or not at all, so a job that was killed can be run again, and one that is done has nothing to do.
"""

import argparse
import os
from pathlib import Path

import numpy as np

import stoop

NETWORKS = 64
# By the launcher: the number of this job, and how many there are. The first that is set counts.
VARIABLES = (
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),  # mpiexec of Open MPI
    ("PMI_RANK", "PMI_SIZE"),  # mpiexec of MPICH and Intel MPI
    ("SLURM_PROCID", "SLURM_NTASKS"),  # srun
)


def part_of(environment):
    """Return the number of this job and how many there are; an array must be numbered from 0."""
    for number, count in VARIABLES:
        if number in environment:
            part, parts = int(environment[number]), int(environment[count])
            if not 0 <= part < parts:
                raise SystemExit(f"{number} is {part}, expected 0 to {parts - 1}: submit with --array=0-{parts - 1}")
            return part, parts
    return 0, 1


def data():
    """Return X and y; a job would read them from a common file, such as ``np.load(path, mmap_mode="r")``."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2000, 2)).astype(np.float32)
    return X, np.digitize(np.hypot(X[:, 0], X[:, 1]), [0.8, 1.5])


def build(i):
    """Return trainer number i, of which nothing depends on the job that trains it."""
    layers = [stoop.Dense(8 << i % 3, activation="relu"), stoop.Dense(3)]
    optimizer = stoop.optimizers.Adam(10.0 ** np.random.default_rng(i).uniform(-3, -2))
    return stoop.Trainer(stoop.Model(layers, input_dim=2, seed=i), optimizer=optimizer, seed=i)


def train(folder, part, parts):
    """Train this job's networks and write its file, unless it is there."""
    path = folder / f"part-{part}-of-{parts}.safetensors"
    numbers = range(part, NETWORKS, parts)
    if path.exists() or not numbers:
        return
    trainers = [build(i) for i in numbers]
    histories = stoop.fit_many(trainers, *data(), epochs=5, batch_size=64, verbose=0)
    for number, history in zip(numbers, histories):
        if history.error is not None:
            raise SystemExit(f"network {number} failed: {history.error}")
    folder.mkdir(parents=True, exist_ok=True)
    stoop.Ensemble([trainer.model for trainer in trainers]).save(path)


def merge(folder, target):
    """Write one file with all networks in their order, or say which jobs are to be run again."""
    found = {path.stem.split("-of-")[1] for path in folder.glob("part-*-of-*.safetensors")}
    if len(found) != 1:
        raise SystemExit(f"{folder} has the parts of {len(found)} divisions, expected one: start with an empty folder")
    parts = int(found.pop())
    paths = [folder / f"part-{part}-of-{parts}.safetensors" for part in range(min(parts, NETWORKS))]
    missing = [str(part) for part, path in enumerate(paths) if not path.exists()]
    if missing:
        raise SystemExit(f"{len(missing)} of {parts} parts are missing: run again with --array={','.join(missing)}")
    members = [stoop.load_ensemble(path) for path in paths]
    models = [members[i % parts][i // parts] for i in range(NETWORKS)]
    ensemble = stoop.Ensemble(models)
    ensemble.save(target)
    X, y = data()
    print(f"{len(ensemble)} networks, accuracy of all together {np.mean(ensemble.predict_classes(X) == y):.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--merge", type=Path, metavar="FILE")
    options = parser.parse_args()
    if options.merge:
        merge(options.folder, options.merge)
    else:
        train(options.folder, *part_of(os.environ))
