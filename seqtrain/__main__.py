"""`python -m seqtrain` is the command `seqtrain`."""

import sys

from seqtrain.cli import main

sys.exit(main())
