"""`python -m tensorbrook` is the `tensorbrook` command."""

import sys

from tensorbrook.cli import main

sys.exit(main())
