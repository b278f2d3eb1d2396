"""``python -m handrail`` is ``handrail``: where the command is not on the path, as on a cluster."""

import sys

from handrail.cli import main

sys.exit(main())
