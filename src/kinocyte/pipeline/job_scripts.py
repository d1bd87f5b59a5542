"""Job scripts for sites where this program cannot start workers: one job a position, each a `kinocyte run` of its own.

The jobs hold nothing but the paths of the pipeline and of the experiment: keys of a store come from the environment of
the jobs. Every job may be ended and started again at any moment; it goes on where it stopped. What belongs to the whole
plate (comparisons and the report) is made once at the end, from what stands.
"""

from __future__ import annotations

import shlex
import stat
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Literal
from urllib.parse import urlsplit

from kinocyte.core.errors import ParameterError
from kinocyte.experiment.storage import write_error
from kinocyte.pipeline.plan import Plan
from kinocyte.pipeline.workers.slurm import gpus_of, lifetime_s, memory_of
from kinocyte.pipeline.workers.where import WORKER_ENVIRONMENT, Workers, walltime_s

Kind = Literal["slurm", "nextflow", "snakemake"]
#: Slurm refuses arrays that are longer than this unless the site says otherwise.
_LONGEST_ARRAY = 1000
_MOST_RESTARTS = 10
_MB = 1_000_000


@dataclass(frozen=True)
class Written:
    """What was written and how to start it."""

    command: str
    n_positions: int


@dataclass(frozen=True)
class _Job:
    """What the templates are filled with."""

    folder: Path
    pipeline: Path
    experiment: str
    positions: tuple[str, ...]
    where: Workers
    memory_bytes: int
    gpus: int

    def kinocyte(self, rest: str) -> str:
        """Return the command line of one run, quoted for a shell; ``rest`` is added as it is."""
        words = [sys.executable, "-m", "kinocyte.cli", "run", str(self.pipeline), self.experiment]
        return f"{shlex.join(words)} {rest}"

    @property
    def status(self) -> str:
        """Return the command line that says what stands."""
        return shlex.join([sys.executable, "-m", "kinocyte.cli", "status", self.experiment])

    @property
    def threads(self) -> dict[str, str]:
        """Return the environment that limits threads to the processor cores of a job."""
        return {k: str(self.where.slurm_cpus) for k in WORKER_ENVIRONMENT}


def write_scripts(kind: Kind, folder: Path, *, pipeline: Path, plan: Plan, experiment: str, where: Workers) -> Written:
    """Write the job scripts of what is left to do into a folder.

    Parameters
    ----------
    kind : {"slurm", "nextflow", "snakemake"}
        For which program.
    folder : Path
        Where to; jobs must see it too. Files of an earlier export are replaced.
    pipeline : Path
        The pipeline file, where the jobs see it.
    plan : Plan
        What is to be done.
    experiment : str
        Path or URL of the experiment, where the jobs see it.
    where : Workers
        Partition, account, walltime, memory, processor cores, GPUs and the most jobs at once.

    Raises
    ------
    ParameterError
        If nothing is left to do, or the URL holds a password.
    StoreError
        If the folder may not be written.
    """
    positions = tuple(dict.fromkeys(t.position for t in plan.todo))
    if not positions:
        msg = f"Nothing is left to do on {experiment}; there are no job scripts to write."
        raise ParameterError(msg)
    if "://" in experiment and urlsplit(experiment).password is not None:
        msg = "The URL of the experiment holds a password; give it to the jobs in their environment instead."
        raise ParameterError(msg)
    job = _Job(
        folder=folder.absolute(),
        pipeline=pipeline.absolute(),
        experiment=experiment,
        positions=positions,
        where=where,
        memory_bytes=memory_of(where, plan.todo),
        gpus=gpus_of(where, plan.todo),
    )
    files = _WRITERS[kind](job)
    try:
        job.folder.mkdir(parents=True, exist_ok=True)
        for name, text in {"positions.txt": "".join(f"{p}\n" for p in positions), **files}.items():
            target = job.folder / name
            target.write_text(text, encoding="utf-8")
            if name.endswith(".sh"):
                target.chmod(target.stat().st_mode | stat.S_IXUSR)
    except OSError as error:
        raise write_error(str(job.folder), error) from error
    return Written(_STARTS[kind].format(folder=shlex.quote(str(job.folder))), len(positions))


_STARTS: Mapping[Kind, str] = {
    "slurm": "{folder}/submit.sh",
    "nextflow": "nextflow run {folder}/main.nf",
    "snakemake": "snakemake --snakefile {folder}/Snakefile --cores all --keep-going",
}

_ARRAY = Template("""\
#!/bin/bash
# One array job: each element does $each of the positions in positions.txt, one after the other. One that comes near
# its walltime puts itself back into the queue and goes on where it stopped.
#SBATCH --job-name=kinocyte
#SBATCH --array=0-$last%$most
$directives
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output="$folder/logs/%A_%a.txt"
#SBATCH --signal=B:USR1@$goodbye
set -u
$exports
child=
again() {
    kill -TERM "$$child" 2>/dev/null
    wait "$$child" 2>/dev/null
    if [ "$${SLURM_RESTART_COUNT:-0}" -lt $restarts ]; then
        echo "near the walltime: back into the queue"
        scontrol requeue "$${SLURM_ARRAY_JOB_ID}_$${SLURM_ARRAY_TASK_ID}"
        sleep 60
    fi
    echo "put back $restarts times and not ended: the walltime is too short for one step"
    exit 1
}
trap again USR1
first=$$((SLURM_ARRAY_TASK_ID * $each + 1))
code=0
while read -r position; do
    $run --positions "$$position" --only positions --workers 0 < /dev/null &
    child=$$!
    wait "$$child" || code=1
done < <(sed -n "$${first},$$((first + $each - 1))p" $list)
exit $$code
""")

_SUMMARY = Template("""\
#!/bin/bash
# Comparisons and the report, once, from the positions that stand; then what stands.
#SBATCH --job-name=kinocyte-summary
$directives
#SBATCH --output="$folder/logs/summary_%j.txt"
$exports
$run --only summary --workers 0
summary=$$?
$status || exit 1
exit $$summary
""")

_SUBMIT = Template("""\
#!/bin/sh
# Sends the array and, to be done after it whatever became of it, the summary. May be started again at any time.
set -e
mkdir -p $quoted/logs
array=$$(sbatch --parsable $quoted/positions.sbatch)
summary=$$(sbatch --parsable --dependency="afterany:$${array%%;*}" $quoted/summary.sbatch)
echo "positions: job $$array, summary: job $$summary"
""")


def _slurm(job: _Job) -> dict[str, str]:
    each = -(-len(job.positions) // _LONGEST_ARRAY)
    elements = -(-len(job.positions) // each)
    where = job.where
    memory = f"--mem={-(-job.memory_bytes // _MB)}M"
    small = [memory, f"--time={where.slurm_walltime}"]
    if where.slurm_partition:
        small.append(f"--partition={where.slurm_partition}")
    if where.slurm_account:
        small.append(f"--account={where.slurm_account}")
    large = [*small, f"--cpus-per-task={where.slurm_cpus}", *([f"--gres=gpu:{job.gpus}"] if job.gpus else [])]
    filled = {
        "folder": job.folder,
        "quoted": shlex.quote(str(job.folder)),
        "list": shlex.quote(str(job.folder / "positions.txt")),
        "exports": "\n".join(f"export {k}={v}" for k, v in job.threads.items()),
        "each": each,
        "last": elements - 1,
        "most": min(where.max_jobs, elements),
        "goodbye": walltime_s(where.slurm_walltime) - lifetime_s(where.slurm_walltime),
        "restarts": _MOST_RESTARTS,
        "run": job.kinocyte("").rstrip(),
        "status": job.status,
    }
    return {
        "positions.sbatch": _ARRAY.substitute(filled, directives=_directives([*large, *where.slurm_options])),
        "summary.sbatch": _SUMMARY.substitute(filled, directives=_directives([*small, *where.slurm_options])),
        "submit.sh": _SUBMIT.substitute(filled),
    }


def _directives(options: list[str]) -> str:
    return "\n".join(f"#SBATCH {option}" for option in options)


_NEXTFLOW = Template("""\
#!/usr/bin/env nextflow
// One process a position; comparisons and the report at the end. A second start of
// this file does what is left.
nextflow.enable.dsl = 2

process position {
    tag "$${id}"
    cache false
    maxForks $most
    cpus $cpus
    memory '$megabytes MB'
    time '$seconds s'$accelerator
    // ended by its limits: again; a position that failed is reported by `kinocyte status` and left
    errorStrategy { task.exitStatus in [130, 137, 140, 143] && task.attempt < $restarts ? 'retry' : 'ignore' }
    maxRetries $restarts

    input:
    val id

    output:
    val id

    script:
    \"\"\"
    $exports
    $run --positions '$${id}' --only positions --workers 0
    \"\"\"
}

process summary {
    cache false
    memory '$megabytes MB'

    input:
    val ids

    script:
    \"\"\"
    $run --only summary --workers 0
    $status
    \"\"\"
}

workflow {
    ids = Channel.fromPath("$${projectDir}/positions.txt").splitText().map { it.trim() }.filter { it }
    position(ids)
    summary(position.out.collect().ifEmpty([]))
}
""")


def _nextflow(job: _Job) -> dict[str, str]:
    where = job.where
    return {
        "main.nf": _NEXTFLOW.substitute(
            most=where.max_jobs,
            cpus=where.slurm_cpus,
            megabytes=-(-job.memory_bytes // _MB),
            seconds=walltime_s(where.slurm_walltime),
            accelerator=f"\n    accelerator {job.gpus}" if job.gpus else "",
            restarts=_MOST_RESTARTS,
            exports="\n    ".join(f"export {k}={v}" for k, v in job.threads.items()),
            run=_groovy(job.kinocyte("").rstrip()),
            status=_groovy(job.status),
        )
    }


def _groovy(command: str) -> str:
    """Return a command for a Groovy string in three double quotes."""
    return command.replace("\\", "\\\\").replace("$", "\\$")


_SNAKEMAKE = Template("""\
# One job a position; comparisons and the report at the end, whatever failed. A second
# start of this file does what is left.
from pathlib import Path

HERE = Path(workflow.basedir)
PIPELINE = $pipeline
POSITIONS = HERE.joinpath("positions.txt").read_text(encoding="utf-8").split()
SUMMARY = $summary


rule summary:
    input:
        [str(HERE / "done" / p) for p in POSITIONS]
    shell:
        SUMMARY


rule position:
    input:
        PIPELINE
    output:
        touch(str(HERE / "done" / "{position}"))
    threads: $cpus
    retries: 3
    resources:
        mem_mb=$megabytes,
        runtime=$minutes$accelerator
    shell:
        $run


onerror:
    shell(SUMMARY)
""")


def _snakemake(job: _Job) -> dict[str, str]:
    where = job.where
    exports = "".join(f"export {k}={v}; " for k, v in job.threads.items())
    run = job.kinocyte("").rstrip().replace("{", "{{").replace("}", "}}")
    summary = f"{run} --only summary --workers 0 && {job.status}"
    return {
        "Snakefile": _SNAKEMAKE.substitute(
            pipeline=repr(str(job.pipeline)),
            summary=repr(summary),
            run=repr(f"{exports}{run} --positions {{wildcards.position}} --only positions --workers 0"),
            cpus=where.slurm_cpus,
            megabytes=-(-job.memory_bytes // _MB),
            minutes=-(-walltime_s(where.slurm_walltime) // 60),
            accelerator=f",\n        gpu={job.gpus}" if job.gpus else "",
        )
    }


_WRITERS: Mapping[Kind, Callable[[_Job], dict[str, str]]] = {
    "slurm": _slurm,
    "nextflow": _nextflow,
    "snakemake": _snakemake,
}
