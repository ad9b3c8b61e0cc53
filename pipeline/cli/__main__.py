"""`python -m pipeline.cli` is `footfall`."""

from pipeline import cli

cli.main()
