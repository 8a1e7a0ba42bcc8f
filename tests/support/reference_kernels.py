"""Integers inside a .tflite file, as LiteRT's reference kernels compute them."""

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from keras_gates.edge.tflite import read
from keras_gates.exporting.verify.tflm import TFLMInterpreter, run_tflm

_NAMES = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}


def numbers_of(data, kind, samples, which=-1):
    """Return what an operator of a file computes for each sample from empty memory: integers, scale and zero point.

    Args:
        data: Bytes of the file.
        kind: Name of the operator, as in the schema.
        samples: Inputs without batch axis: tokens, or reals, which are quantized as the file's input is.
        which: Index among the operators of this kind.
    """
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    graph, codes = model.subgraphs[0], model.operatorCodes
    code = [_NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in codes]
    operators = [operator for operator in graph.operators if code[operator.opcodeIndex] == kind]
    graph.outputs, model.signatureDefs = [operators[which].outputs[0]], []
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    resolver = OpResolverType.BUILTIN_REF
    interpreter = Interpreter(model_content=bytes(builder.Output()), experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    rows = []
    for sample in samples:
        if source["dtype"] == np.int8:
            scale, zero = source["quantization"]
            sample = np.clip(np.rint(sample.astype("float64") / scale) + zero, -128, 127).astype("int8")
        interpreter.reset_all_variables()
        interpreter.set_tensor(source["index"], sample[None])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(target["index"])[0].astype(int))
    return np.stack(rows), *target["quantization"]


def answers(data, samples, lengths=None, kernels="reference", continued=False):
    """Return what a file answers to each sample from empty memory: integers, scale and zero point.

    Args:
        data: Bytes of the file.
        samples: Inputs without batch axis: tokens, or reals, which are quantized as the file's input is.
        lengths: Of the samples, if the file takes them.
        kernels: LiteRT's "reference" or "default" ones, or "tflm".
        continued: Each sample starts from the memory that the one before left.
    """
    resolver = OpResolverType.BUILTIN_REF if kernels == "reference" else OpResolverType.AUTO
    interpreter = Interpreter(model_content=data, experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    places, (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    calls = []
    for number, sample in enumerate(samples):
        call = []
        for place in places:
            if place["dtype"] == np.int8:
                scale, zero = place["quantization"]
                sample = np.clip(np.rint(sample.astype("float64") / scale) + zero, -128, 127)
            is_length = lengths is not None and list(place["shape"]) == [1]
            call.append(np.asarray([lengths[number]] if is_length else sample[None], place["dtype"]))
        calls.append(call)
    if kernels == "tflm":
        rows = [outputs[0][0] for outputs in run_tflm(data, [[call] for call in calls])[0]]
    else:
        rows = []
        for call in calls:
            if not (continued and rows):
                interpreter.reset_all_variables()
            for place, value in zip(places, call):
                interpreter.set_tensor(place["index"], value)
            interpreter.invoke()
            rows.append(interpreter.get_tensor(target["index"]))
    return np.concatenate(rows).astype(int), *target["quantization"]


def step_answers(data, samples, kernels="reference"):
    """Return what a one-step file answers to every event of each sample, memories handed on: integers, scale and zero point.

    Args:
        data: Bytes of the file.
        samples: `(samples, time, features)`.
        kernels: LiteRT's "reference" or "default" ones, or "tflm".
    """
    if kernels == "tflm":
        interpreter = TFLMInterpreter(data)
    else:
        resolver = OpResolverType.BUILTIN_REF if kernels == "reference" else OpResolverType.AUTO
        interpreter = Interpreter(model_content=data, experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    graph = read(data).subgraphs[0]
    inputs, outputs = (
        {graph.tensors[i].name: graph.tensors[i] for i in places} for places in (graph.inputs, graph.outputs)
    )
    memories = [place for name, place in inputs.items() if f"{name}_next" in outputs]
    (source,) = [place for place in inputs.values() if place not in memories]
    (target,) = [place for name, place in outputs.items() if name.removesuffix("_next") not in inputs]
    rows = []
    for sample in samples:
        values = [np.full(place.shape, place.zero_point, "int8") for place in memories]
        row = []
        for event in sample:
            number = np.clip(np.rint(event.astype("float64") / source.scale) + source.zero_point, -128, 127)
            interpreter.set_tensor(source.index, number.astype("int8").reshape(source.shape))
            for place, value in zip(memories, values):
                interpreter.set_tensor(place.index, value)
            interpreter.invoke()
            row.append(interpreter.get_tensor(target.index).astype(int).reshape(-1))
            values = [np.array(interpreter.get_tensor(outputs[f"{place.name}_next"].index)) for place in memories]
        rows.append(row)
    return np.array(rows), target.scale, target.zero_point
