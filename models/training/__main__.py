"""`python -m keras_gates.models.training`: train.py without a checkout."""

import sys

from keras_gates.models.training import main

sys.exit(main())
