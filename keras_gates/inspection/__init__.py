"""Looking inside a trained model without changing it.

| file | what it does |
|---|---|
| `tracing.py` | `trace`: one forward pass in which every gate's output is recorded |
| `trace_data.py` | `Trace` and `LayerTrace`: the recorded arrays by name; NumPy, xarray, `.npz` |
| `attribution.py` | `influence`: how much a prediction depends on each event and on LTM (the cell state) |
| `influence_data.py` | `Influence`: its arrays, a table for notebooks, an explanation for shap |
| `influence_matrix.py` | `influence_matrix`: which event moved which answer |
| `horizon.py` | `memory_horizon`: how far back predictions depend on the input |
| `explained.py` | which number of a prediction is explained: the log-odds of an answer, or the number |
| `front.py` | keeps what runs before a recurrent layer between passes |
| `event_passes.py` | forward and backward passes with the events of one layer replaced |
| `gradients.py` | gradients of a score by TensorFlow, JAX or PyTorch |
| `plain_steps.py`, `plain_gradients.py` | steps of plain gates and their backward pass in NumPy |
| `ablation.py` | `ablate` and `worth_of_gates`: gates held open, closed or at their mean |
| `probing.py` | `find_units`: units that follow a property of the input |
| `summary.py` | `gate_summary`, statistics of a trace, and complaints about gates that look wrong |
| `monitor.py` | `GateMonitor`: statistics for TensorBoard and warnings while a model trains |
| `plots/` | matplotlib figures of traces, influence, learning curves and confusion matrices |
| `html_report/` | `report`: an interactive HTML page of what the gates did |
| `hooks.py` | replaces the loops of a model's recurrent layers for the time of a `with` block |
| `inputs.py` | a model's input: rows of it as tensors, texts, the fixed batch size |
"""
