"""`python -m landscape`: the command."""

from landscape.cli.entry import main  # type: ignore[import-not-found]

main()
