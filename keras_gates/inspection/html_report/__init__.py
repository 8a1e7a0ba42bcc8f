"""The interactive report: one HTML file in which to move through time and see what the gates did.

| file | what it does |
|---|---|
| `build.py` | `report`: collects everything about the examples and writes the file |
| `story.py` | one example: its events, answers and layers |
| `answers.py` | the answers after each event: names, the most probable of many, a forecast |
| `event_views.py` | events as a person sees them: words, pictures, a waveform, curves |
| `predictions.py` | the model's prediction after every event |
| `patching.py` | the prediction if the long-term memory of another example is put in |
| `packing.py` | arrays as base64 |
| `page/` | the page itself: HTML, style and script, into which the data are inserted |
"""
