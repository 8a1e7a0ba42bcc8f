"""The integers of a layer of the article's formulation, written into the one-step file whose operators compute it.

The products are recognised by their weights. From what they return, the place of every other operator of a time step follows.
"""

from __future__ import annotations

from ai_edge_litert import schema_py_generated as schema

from keras_gates.exporting.tflite.checks import operator_name
from keras_gates.quantization.layers import LayerNumbers
from keras_gates.quantization.numbers import Scale

_GATES = ("ignore", "forget", "candidate", "use")
# What an elementwise operator returns, by what it takes.
_RESULTS = {
    **{frozenset((f"event_{gate}", f"stm_{gate}")): f"sum_{gate}" for gate in range(4)},
    frozenset(("candidate", "ignore")): "learned",
    frozenset(("kept", "learned")): "cell",
    frozenset(("u", "use")): "hidden",
}
_ACTIVATED = {**{f"sum_{gate}": name for gate, name in enumerate(_GATES)}, "source": "u"}


def article_scales(
    model: schema.ModelT, graph: schema.SubGraphT, products: dict[str, schema.OperatorT], layer: LayerNumbers
) -> dict[int, Scale]:
    """Return the scales of the tensors around a layer's operators.

    Args:
        model: A converted file.
        graph: Its one-step graph.
        products: The layer's FULLY_CONNECTED operators by name, event_0 … event_3, stm_0 … and source.
        layer: Whose scales they are.
    """
    of = {**layer.activations, "input": layer.input, "hidden": layer.output}
    names: dict[int, str] = {}
    for name, operator in products.items():
        names[operator.outputs[0]] = name
        names[operator.inputs[0]] = {"event": "input", "stm": "hidden"}.get(name.partition("_")[0], "kept")
    for operator in graph.operators:  # in the order of execution
        kind, inputs, output = operator_name(model, operator), list(operator.inputs), operator.outputs[0]
        known = [names.get(i) for i in inputs]
        if kind in ("LOGISTIC", "TANH") and known[0] in _ACTIVATED:
            names[output] = _ACTIVATED[str(known[0])]
        elif kind == "MUL" and "forget" in known:
            names[inputs[1 - known.index("forget")]], names[output] = "cell", "kept"
        elif kind in ("ADD", "MUL") and (result := _RESULTS.get(frozenset(filter(None, known)))):
            names[output] = result
    scales = {i: of[name] for i, name in names.items() if name in of}
    return {i: scale for i, scale in scales.items() if scale is not None}
