"""`python -m keras_gates`: the command line."""

import sys

from keras_gates.cli import main

sys.exit(main())
