"""``python -m fastwsi``."""

from fastwsi.cli import main

main()
