"""Who does the tasks of a plan: this process, processes of this machine, a Dask scheduler or Slurm; one file each."""
