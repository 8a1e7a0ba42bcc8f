"""The list of converter pitfalls in the documentation is the one in the code."""

from pathlib import Path

import pytest

pytest.importorskip("tensorflow", reason="export needs TensorFlow")
pytest.importorskip("ai_edge_litert", reason="passes use the schema of ai-edge-litert")
from keras_gates.exporting.tflite import passes

PAGE = next(folder / "docs/export.md" for folder in Path(__file__).parents if (folder / "docs").is_dir())


def test_the_documentation_lists_the_passes():
    listed = PAGE.read_text(encoding="utf-8").split("<!-- passes -->")[1].split("<!-- end -->")[0]
    assert listed.strip() == passes.pitfalls_markdown()


def test_every_pass_explains_itself():
    assert all(each.name and each.text.endswith(".") for each in passes.PASSES)
    assert len({each.name for each in passes.PASSES}) == len(passes.PASSES)
