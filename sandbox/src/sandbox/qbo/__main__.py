"""`python -m sandbox.qbo`."""

import sys

from sandbox.qbo.door.server import main

sys.exit(main())
