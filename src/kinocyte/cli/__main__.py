"""Run the command line with ``python -m kinocyte.cli``."""

from kinocyte.cli import main

main()
