"""Figures of what a model did. Each function returns a matplotlib `Figure` and shows nothing by itself.

| file | figures |
|---|---|
| `gates.py` | `plot_gates` (heat maps), `plot_units` (single units, coloured text) |
| `memory.py` | `plot_memory` (what is still held of each event), `plot_horizon` |
| `flow.py` | `plot_flow` (the cell with the numbers of one time step) |
| `training.py` | `plot_curves`, `plot_confusion` |
| `picture.py` | how a notebook shows them |
| `order.py` | which units are drawn, and in which order |
| `text.py` | texts in every script |
| `style.py` | colours, time axis, titles |
"""

from keras_gates.inspection.plots.flow import plot_flow
from keras_gates.inspection.plots.gates import plot_gates, plot_units
from keras_gates.inspection.plots.memory import plot_horizon, plot_memory
from keras_gates.inspection.plots.training import plot_confusion, plot_curves

__all__ = ["plot_confusion", "plot_curves", "plot_flow", "plot_gates", "plot_horizon", "plot_memory", "plot_units"]
