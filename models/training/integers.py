"""`--qat`: a short training in integers after the ordinary one (`keras_gates.quantize_aware`)."""

from __future__ import annotations

from typing import Any

import keras_gates
from keras_gates.models.registry import UserError, ZooModel
from keras_gates.models.training import fitting
from keras_gates.models.training.deploying import CALIBRATION
from keras_gates.models.training.recipe import DEFAULTS
from keras_gates.models.training.run_config import RunConfig

SHARE = 6  # of the epochs
SLOWER = 3  # by which the learning rate is divided


def train_in_integers(zoo: ZooModel, model: Any, data: Any, config: RunConfig, verbose: Any = "auto") -> Any:
    """Return the model of `quantize_aware`, trained for a sixth of the recipe's epochs with a third of its learning rate.

    Args:
        zoo: the model's description.
        model: the trained `keras.Model`.
        data: a `keras_gates.models.data.pipeline.Data`.
        config: of the run; its `qat` is the precision.
        verbose: as in `keras.Model.fit`.

    Raises:
        UserError: a layer has no integer counterpart.
    """
    assert config.qat is not None
    calibration, _ = data.spread("train", CALIBRATION)
    try:
        aware = keras_gates.quantize_aware(model, config.qat, calibration=calibration)
    except keras_gates.InvalidArgument as error:
        raise UserError(f"--qat: {error}") from error
    recipe = {**DEFAULTS, **config.recipe}
    short = {
        "epochs": max(1, round(recipe["epochs"] / SHARE)),
        "learning_rate": recipe["learning_rate"] / SLOWER,
        "warmup": 0.0,
        "patience": None,
    }
    fitting.fit(zoo, aware, data, {**recipe, **short}, config.seed + 1, None, verbose=verbose)
    return aware
