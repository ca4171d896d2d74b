"""`python -m update_all`."""

import sys

from update_all.cli.main import main

sys.exit(main())
