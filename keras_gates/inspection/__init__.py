"""Looking inside a trained model without changing it.

| file | what it does |
|---|---|
| `tracing.py` | `trace`: one forward pass in which every gate's output is recorded |
| `trace_data.py` | `Trace` and `LayerTrace`: the recorded arrays by name; NumPy, xarray, `.npz` |
| `attribution.py` | `influence` and `memory_horizon`: how much a prediction depends on each event and on LTM |
| `gradients.py` | gradients of a score by TensorFlow, JAX or PyTorch |
| `ablation.py` | `ablate` and `worth_of_gates`: gates held open, closed or at their mean |
| `probing.py` | `find_units`: units that follow a property of the input |
| `summary.py` | `gate_summary`, statistics of a trace, and complaints about gates that look wrong |
| `monitor.py` | `GateMonitor`: statistics for TensorBoard and warnings while a model trains |
| `plots/` | matplotlib figures of traces, influence, learning curves and confusion matrices |
| `html_report/` | `report`: an interactive HTML page of what the gates did |
| `hooks.py` | replaces the loops of a model's recurrent layers for the time of a `with` block |
| `inputs.py` | a model's input: rows of it as tensors, texts, the fixed batch size |
"""
