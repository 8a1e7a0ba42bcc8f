"""The layers of the zoo against NumPy written out: the ear, another voice, words, alphabet."""

import keras
import numpy as np
import pytest

from keras_gates.edge import frontends
from keras_gates.models.layers.alphabet import Alphabet
from keras_gates.models.layers.logmel import AnotherVoice, LogMel
from keras_gates.models.layers.votes import PairVotes
from keras_gates.models.layers.words import Words

tensorflow_only = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="strings are TensorFlow's")


def numbers_of(tensor):
    return keras.ops.convert_to_numpy(tensor)


@pytest.mark.parametrize(("rate", "frame", "hop"), [(8000, 256, 128), (16000, 512, 256), (8000, 300, 100)])
def test_log_mel_is_the_logarithm_of_a_fourier_transform_in_bands(rate, frame, hop):
    sound = np.random.default_rng(0).normal(0, 0.1, (2, rate // 4)).astype("float32")
    layer = LogMel(rate, frame=frame, hop=hop, bins=20)
    window = np.hanning(frame + 1)[:-1]
    frames = np.stack([sound[:, start : start + frame] for start in range(0, sound.shape[1] - frame + 1, hop)], 1)
    power = np.abs(np.fft.rfft(frames * window)) ** 2
    expected = np.log(power @ layer.mel + 1e-5)
    np.testing.assert_allclose(numbers_of(layer(sound)), expected, atol=1e-3)
    assert layer.compute_output_shape(sound.shape) == expected.shape


def test_a_tone_is_heard_in_its_band():
    layer = LogMel(8000, bins=40)
    hertz = 1000
    events = numbers_of(layer(np.sin(2 * np.pi * hertz * np.arange(4000) / 8000)[None].astype("float32")))
    mel = 2595 * np.log10(1 + np.array([60, hertz, 4000]) / 700)
    place = (mel[1] - mel[0]) / (mel[2] - mel[0]) * 41 - 1
    assert abs(events.mean((0, 1)).argmax() - place) < 1


def test_what_the_device_computes_is_what_the_training_computed():
    sound = np.random.default_rng(1).normal(0, 0.1, 8000).astype("float32")
    there = frontends.LogMel(8000, frame=256, hop=128, bins=40)(sound)
    here = numbers_of(LogMel(8000, frame=256, hop=128, bins=40)(sound[None]))[0]
    np.testing.assert_allclose(here, there, atol=1e-4)


def test_log_mel_says_which_frames_it_takes():
    with pytest.raises(ValueError, match="multiple of hop; got frame=256, hop=100"):
        LogMel(8000, frame=256, hop=100)


def test_another_voice_speaks_only_while_training():
    events = np.random.default_rng(0).normal(0, 1, (4, 30, 40)).astype("float32")
    layer = AnotherVoice(seed=3)
    np.testing.assert_array_equal(numbers_of(layer(events)), events)
    spoken = numbers_of(layer(events, training=True))
    assert spoken.shape == events.shape
    assert (np.abs(spoken - events).mean((1, 2)) > 0.01).all()
    assert np.abs(spoken[0] - spoken[1]).mean() > 0


def test_a_stretched_voice_has_its_bands_elsewhere():
    ramp = np.tile(np.arange(40, dtype="float32"), (64, 5, 1))
    layer = AnotherVoice(stretch=0.1, tilt=0.0, masks=0, seed=1)
    spoken = numbers_of(layer(ramp, training=True))[:, 0]
    factor = spoken[:, 20] / 20
    assert 0.9 <= factor.min() < 0.97
    assert 1.03 < factor.max() <= 1.11
    np.testing.assert_allclose(spoken[:, 10], 10 * factor, atol=1e-3)


def test_masks_cover_bands_and_times_with_the_mean():
    events = np.random.default_rng(0).normal(5, 1, (32, 40, 40)).astype("float32")
    layer = AnotherVoice(stretch=0.0, tilt=0.0, masks=1, widest=0.25, seed=1)
    spoken = numbers_of(layer(events, training=True))
    covered = ~np.isclose(spoken, events, atol=1e-4)
    whole_bands, whole_times = covered.all(1).sum(1), covered.all(2).sum(1)
    assert (covered == (covered.all(1)[:, None, :] | covered.all(2)[:, :, None])).all()
    assert 0 < whole_bands.max() <= 10
    assert 0 < whole_times.max() <= 10
    np.testing.assert_allclose(spoken[covered], np.repeat(events.mean((1, 2)), covered.sum((1, 2))), atol=1e-3)


@tensorflow_only
def test_words_are_numbered_as_text_vectorization_and_the_device_number_them():
    vocabulary = ["", "[UNK]", "good", "film", "dont", "schön"]
    texts = ["Good, GOOD film!", "Don't (go)...", "Schön", "one two three four good film dont"]
    ours = numbers_of(Words(vocabulary, longest=5)(np.array(texts)))
    keras_own = keras.layers.TextVectorization(vocabulary=vocabulary[2:])
    for row, content in zip(ours, texts):
        expected = numbers_of(keras_own(np.array([content])))[0][-5:]
        np.testing.assert_array_equal(row[: len(expected)], expected)
        np.testing.assert_array_equal(row[len(expected) :], 0)
        np.testing.assert_array_equal(frontends.tokens(content, vocabulary, {"longest": 5}), row)
    assert Words(vocabulary, longest=9)(np.array(texts)).shape == (4, 9)


@tensorflow_only
def test_words_wants_a_vocabulary_with_padding_and_unknown_first():
    with pytest.raises(ValueError, match="starts with"):
        Words(["good", "film"])


@tensorflow_only
def test_words_come_back_from_a_file(tmp_path):
    text = keras.Input((), dtype="string")
    model = keras.Model(text, Words(["", "[UNK]", "good"], longest=3)(text))
    model.save(tmp_path / "words.keras")
    again = keras.saving.load_model(tmp_path / "words.keras")
    texts = keras.ops.convert_to_tensor(np.array(["so good", "a b c good"]))
    np.testing.assert_array_equal(numbers_of(again(texts)), [[1, 2, 0], [1, 1, 2]])


def test_pairs_of_words_vote_and_padding_does_not(tmp_path):
    layer = PairVotes(3, pairs=50, scale=2.0)
    words = keras.Input((6,), dtype="int32")
    model = keras.Model(words, layer(words))
    table = np.random.default_rng(0).normal(size=(50, 3)).astype("float32")
    layer.set_weights([table])
    x = np.array([[4, 7, 7, 9_998, 0, 0], [18_999, 18_999, 1, 2, 3, 4]], "int32")
    wanted = np.zeros((2, 6, 3), "float32")
    for row in range(2):
        for t in range(6):
            after = int(x[row, t + 1]) if t < 5 else 0
            if x[row, t]:
                wanted[row, t] = 2 * table[(7919 * int(x[row, t]) + 104729 * after) % 50]
    np.testing.assert_allclose(numbers_of(model(x)), wanted, rtol=1e-6)
    model.save(tmp_path / "votes.keras")
    again = keras.saving.load_model(tmp_path / "votes.keras")
    np.testing.assert_array_equal(numbers_of(again(x)), numbers_of(model(x)))


def test_an_alphabet_knows_its_letters_also_from_a_file(tmp_path):
    alphabet = Alphabet(["<unk>", "a", "b"], 4)
    np.testing.assert_array_equal(alphabet.numbers("abxa"), [1, 2, 0, 1])
    model = keras.Sequential([keras.Input((None,), dtype="int32"), alphabet])
    model.save(tmp_path / "alphabet.keras")
    again = keras.saving.load_model(tmp_path / "alphabet.keras")
    assert again.layers[0].vocabulary == ["<unk>", "a", "b"]
    np.testing.assert_array_equal(numbers_of(again(np.array([[1, 2]]))), numbers_of(model(np.array([[1, 2]]))))
