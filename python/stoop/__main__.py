"""Makes ``python -m stoop`` the same as the ``stoop`` command."""

import sys

from stoop.cli import main

if __name__ == "__main__":
    sys.exit(main())
