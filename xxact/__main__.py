"""`python -m xxact` is the command `xxact`."""

import sys

from xxact.cli import main

sys.exit(main())
