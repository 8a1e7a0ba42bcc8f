"""`python -m keras_gates.models.training`: train.py without a checkout."""

from keras_gates.models.training import program

if __name__ == "__main__":
    program()
