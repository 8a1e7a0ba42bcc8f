"""Front ends on the device: tokens, log-mel events and standardized values are those of Keras and of the zoo."""

import functools
import sys
import unicodedata

import numpy as np
import pytest
from exported import VOCABULARY
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_gates.edge import EdgeError
from keras_gates.edge.frontends import LogMel, scaled, tokens


def test_words_become_the_numbers_of_textvectorization():
    keras = pytest.importorskip("keras")
    pytest.importorskip("tensorflow")
    vocabulary = ["turn", "it", "off", "on", "don't"]
    layer = keras.layers.TextVectorization(vocabulary=vocabulary)
    known = [str(word) for word in layer.get_vocabulary()]
    for text in ("Turn it OFF!", "on, it: (the) thing", "don't turn-it", "a\tb\nit"):
        np.testing.assert_array_equal(tokens(text, known, {}), np.asarray(layer([text]))[0])
    with pytest.raises(EdgeError, match="lacks 'the'"):
        tokens("the", ["", "turn"], {})
    assert tokens("on", VOCABULARY, {"split": "character"}).tolist() == [1, 1]


@pytest.mark.parametrize("split", ["whitespace", "character"])
@pytest.mark.parametrize("standardize", ["lower_and_strip_punctuation", "lower", None])
def test_every_assigned_character_is_tokenized_as_in_keras(standardize, split):
    keras = pytest.importorskip("keras")
    pytest.importorskip("tensorflow")
    assigned = [c for c in map(chr, range(1, sys.maxunicode + 1)) if unicodedata.category(c) not in ("Cn", "Cs")]
    text = " ".join(f"A{c}b" for c in assigned)
    whole = {"a", "b", "A", "ab", "Ab"} | {f"{a}{c}b" for c in assigned for a in "aA"}
    vocabulary = sorted(assigned if split == "character" else whole)
    layer = keras.layers.TextVectorization(standardize=standardize, split=split, vocabulary=vocabulary)
    got = tokens(text, ["", "[UNK]", *vocabulary], {"standardize": standardize, "split": split})
    np.testing.assert_array_equal(got, np.asarray(layer([text]))[0])


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_text_is_tokenized_as_in_keras(text):
    layer, vocabulary = vectorization()
    np.testing.assert_array_equal(tokens(text, vocabulary, {}), np.asarray(layer([text]))[0])


@functools.cache
def vectorization():
    keras = pytest.importorskip("keras")
    pytest.importorskip("tensorflow")
    layer = keras.layers.TextVectorization(vocabulary=[*map(chr, range(33, 127)), "ß", "i̇", "σ", "ς", "é"])
    return layer, [str(word) for word in layer.get_vocabulary()]


def test_words_are_padded_as_the_zoo_pads_them():
    pytest.importorskip("tensorflow")
    from keras_gates.models.layers.words import Words

    vocabulary = ["", "[UNK]", "good", "film"]
    layer = Words(vocabulary, longest=4)
    for text in ("Good, good film!", "a good film is a good film", "film"):
        got = tokens(text, vocabulary, {"longest": 4})
        np.testing.assert_array_equal(got, np.asarray(layer(np.array([text])))[0])
    with pytest.raises(EdgeError, match="longest"):
        tokens("film", vocabulary, {"longest": -1})


def test_log_mel_is_that_of_the_zoo_whole_and_in_pieces():
    pytest.importorskip("keras")
    from keras_gates.models.layers.logmel import LogMel as Layer

    sound = np.random.default_rng(1).normal(size=4000).astype("float32") * 0.1
    mine = LogMel(8000, frame=256, hop=128, bins=40)
    wanted = np.asarray(Layer(8000)(sound[None]))[0]
    np.testing.assert_allclose(mine(sound), wanted, atol=1e-3)
    pieces = [mine.push(piece) for piece in np.split(sound, [7, 300, 301, 2222])]
    np.testing.assert_allclose(np.concatenate(pieces), mine(sound), atol=1e-5)


def test_measurements_are_scaled_as_keras_scales_them():
    keras = pytest.importorskip("keras")
    mean, variance = [2.0, -300.0, 0.0], [4.0, 1e4, 0.25]
    values = np.random.default_rng(1).normal(size=(2, 5, 3)) * 100
    wanted = keras.layers.Normalization(mean=mean, variance=variance)(values.astype("float32"))
    told = {"kind": "scale", "mean": mean, "deviation": np.sqrt(variance).tolist()}
    np.testing.assert_allclose(scaled(values, told), wanted, rtol=1e-6)
    np.testing.assert_allclose(scaled(values[0, 0], told), wanted[0, 0], rtol=1e-6)
    with pytest.raises(EdgeError, match="3 channels"):
        scaled(values[..., :2], told)
    for wrong in ({}, {"mean": "x", "deviation": [1.0]}, {"mean": [0.0], "deviation": [0.0]}):
        with pytest.raises(EdgeError, match="scale front end"):
            scaled(values, wrong)
