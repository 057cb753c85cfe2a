"""`python -m supervision.cli`."""

from supervision.cli.main import main

main(prog_name="perdure")
