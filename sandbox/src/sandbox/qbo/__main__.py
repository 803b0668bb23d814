"""`python -m sandbox.qbo`."""

import sys

from sandbox.qbo.server import main

sys.exit(main())
