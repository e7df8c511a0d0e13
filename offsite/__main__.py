"""`python -m offsite`: the command line, where no `offsite` is on the path."""

import sys

from offsite.cli import main

sys.exit(main())
