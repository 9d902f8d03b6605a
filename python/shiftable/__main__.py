"""`python -m shiftable` is the command `shiftable`."""

import sys

from shiftable.cli import main

sys.exit(main())
