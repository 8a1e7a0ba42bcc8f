"""The interactive report: one HTML file in which to move through time and see what the gates did.

| file | what it does |
|---|---|
| `build.py` | `report`: collects everything about the examples and writes the file |
| `event_views.py` | events as a person sees them: words, pictures, a waveform, curves |
| `predictions.py` | the model's prediction after every event |
| `page/` | the page itself: HTML, style and script, into which the data are inserted |
"""
