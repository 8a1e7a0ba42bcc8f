"""The public names, for type checkers and editors: at run time `__init__.py` imports each one when it is first used."""

from keras_gates import cli as cli
from keras_gates import conversion as conversion
from keras_gates import edge as edge
from keras_gates import exporting as exporting
from keras_gates import inspection as inspection
from keras_gates import layers as layers
from keras_gates import loops as loops
from keras_gates import models as models
from keras_gates import native as native
from keras_gates import quantization as quantization
from keras_gates._errors import GatesError as GatesError
from keras_gates._errors import InvalidArgument as InvalidArgument
from keras_gates.conversion.keras_lstm import convert as convert
from keras_gates.conversion.keras_lstm import from_keras as from_keras
from keras_gates.conversion.keras_lstm import to_keras as to_keras
from keras_gates.conversion.torch_lstm import from_torch as from_torch
from keras_gates.conversion.torch_lstm import to_torch as to_torch
from keras_gates.edge.model import EdgeModel as EdgeModel
from keras_gates.exporting.c99.engine import CompiledRuntime as CompiledRuntime
from keras_gates.exporting.fit import FitReport as FitReport
from keras_gates.exporting.fit import fit_report as fit_report
from keras_gates.exporting.pipeline import export as export
from keras_gates.exporting.quantization import quantization_report as quantization_report
from keras_gates.exporting.report import ExportError as ExportError
from keras_gates.exporting.report import ExportReport as ExportReport
from keras_gates.exporting.verify.noise import QuantizationReport as QuantizationReport
from keras_gates.inspection.ablation import ablate as ablate
from keras_gates.inspection.ablation import worth_of_gates as worth_of_gates
from keras_gates.inspection.attribution import influence as influence
from keras_gates.inspection.horizon import Horizon as Horizon
from keras_gates.inspection.horizon import memory_horizon as memory_horizon
from keras_gates.inspection.html_report.build import report as report
from keras_gates.inspection.influence_data import Influence as Influence
from keras_gates.inspection.influence_matrix import InfluenceMatrix as InfluenceMatrix
from keras_gates.inspection.influence_matrix import influence_matrix as influence_matrix
from keras_gates.inspection.monitor import GateMonitor as GateMonitor
from keras_gates.inspection.monitor import GateWarning as GateWarning
from keras_gates.inspection.plots import plot_confusion as plot_confusion
from keras_gates.inspection.plots import plot_curves as plot_curves
from keras_gates.inspection.plots import plot_flow as plot_flow
from keras_gates.inspection.plots import plot_gates as plot_gates
from keras_gates.inspection.plots import plot_horizon as plot_horizon
from keras_gates.inspection.plots import plot_memory as plot_memory
from keras_gates.inspection.plots import plot_units as plot_units
from keras_gates.inspection.probing import Unit as Unit
from keras_gates.inspection.probing import find_units as find_units
from keras_gates.inspection.summary import gate_summary as gate_summary
from keras_gates.inspection.trace_data import LayerTrace as LayerTrace
from keras_gates.inspection.trace_data import Trace as Trace
from keras_gates.inspection.tracing import trace as trace
from keras_gates.layers.base_gate import Gate as Gate
from keras_gates.layers.cell import GateLSTMCell as GateLSTMCell
from keras_gates.layers.gates import ForgetGate as ForgetGate
from keras_gates.layers.gates import LearnGate as LearnGate
from keras_gates.layers.gates import RememberGate as RememberGate
from keras_gates.layers.gates import UseGate as UseGate
from keras_gates.layers.initializers import start_with_span as start_with_span
from keras_gates.layers.lstm import GateLSTM as GateLSTM
from keras_gates.layers.variants.always_open import OpenForgetGate as OpenForgetGate
from keras_gates.layers.variants.always_open import OpenLearnGate as OpenLearnGate
from keras_gates.layers.variants.always_open import OpenUseGate as OpenUseGate
from keras_gates.layers.variants.coupled import CoupledForgetGate as CoupledForgetGate
from keras_gates.layers.variants.layer_norm import LayerNormForgetGate as LayerNormForgetGate
from keras_gates.layers.variants.layer_norm import LayerNormLearnGate as LayerNormLearnGate
from keras_gates.layers.variants.layer_norm import LayerNormUseGate as LayerNormUseGate
from keras_gates.layers.variants.peephole import PeepholeForgetGate as PeepholeForgetGate
from keras_gates.layers.variants.peephole import PeepholeLearnGate as PeepholeLearnGate
from keras_gates.layers.variants.peephole import PeepholeUseGate as PeepholeUseGate
from keras_gates.layers.variants.projection import ProjectionUseGate as ProjectionUseGate
from keras_gates.layers.variants.refine import RefineForgetGate as RefineForgetGate
from keras_gates.layers.variants.zoneout import ZoneoutRememberGate as ZoneoutRememberGate
from keras_gates.layers.variants.zoneout import ZoneoutUseGate as ZoneoutUseGate
from keras_gates.loops.inputs import Weights as Weights
from keras_gates.native.versions import show_versions as show_versions
from keras_gates.quantization.aware import quantize_aware as quantize_aware

__version__: str
__all__ = [
    "CompiledRuntime",
    "CoupledForgetGate",
    "EdgeModel",
    "ExportError",
    "ExportReport",
    "FitReport",
    "ForgetGate",
    "Gate",
    "GateLSTM",
    "GateLSTMCell",
    "GateMonitor",
    "GateWarning",
    "GatesError",
    "Horizon",
    "Influence",
    "InfluenceMatrix",
    "InvalidArgument",
    "LayerNormForgetGate",
    "LayerNormLearnGate",
    "LayerNormUseGate",
    "LayerTrace",
    "LearnGate",
    "OpenForgetGate",
    "OpenLearnGate",
    "OpenUseGate",
    "PeepholeForgetGate",
    "PeepholeLearnGate",
    "PeepholeUseGate",
    "ProjectionUseGate",
    "QuantizationReport",
    "RefineForgetGate",
    "RememberGate",
    "Trace",
    "Unit",
    "UseGate",
    "Weights",
    "ZoneoutRememberGate",
    "ZoneoutUseGate",
    "ablate",
    "convert",
    "export",
    "find_units",
    "fit_report",
    "from_keras",
    "from_torch",
    "gate_summary",
    "influence",
    "influence_matrix",
    "memory_horizon",
    "plot_confusion",
    "plot_curves",
    "plot_flow",
    "plot_gates",
    "plot_horizon",
    "plot_memory",
    "plot_units",
    "quantization_report",
    "quantize_aware",
    "report",
    "show_versions",
    "start_with_span",
    "to_keras",
    "to_torch",
    "trace",
    "worth_of_gates",
]
