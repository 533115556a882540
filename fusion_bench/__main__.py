"""``python -m fusion_bench``: the command, of the package that lies in the working directory."""

import sys

from fusion_bench.cli import main

if __name__ == "__main__":
    sys.exit(main())
