"""The linear model of words and pairs against scikit-learn and NumPy written out; word vectors from files."""

import gzip

import keras
import numpy as np
import pytest

from keras_gates.models.data.vectors import fitting, vectors_of
from keras_gates.models.layers.votes import AfterTraining, WordVotes
from keras_gates.models.registry import UserError, find
from keras_gates.models.text_linear import counted, fit_votes, naive_bayes

WORDS = np.array([[4, 7, 7, 9_998, 0, 0], [13_999, 13_999, 1, 2, 3, 4], [5, 0, 0, 0, 0, 0]], "int32")
FACTORS = (7919, 104729, 31337)


def numbers_of(tensor):
    return keras.ops.convert_to_numpy(tensor)


def rows_of(words, longest, rows):
    """The table's rows of all runs of 1 … longest words of one text."""
    words = [int(word) for word in words if word]
    return [
        sum(word * factor for word, factor in zip(words[at : at + count], FACTORS)) % rows
        for count in range(1, longest + 1)
        for at in range(len(words) - count + 1)
    ]


@pytest.mark.parametrize(("classes", "longest"), [(3, 1), (3, 2), (2, 3)])
def test_words_and_neighbouring_words_vote(classes, longest):
    layer = WordVotes(classes, rows=50, longest=longest)
    layer.build(WORDS.shape)
    table = np.random.default_rng(0).normal(size=(50, 1 if classes == 2 else classes)).astype("float32")
    layer.set_weights([table])
    votes = np.stack([table[rows_of(words, longest, 50)].sum(0) for words in WORDS])
    wanted = np.concatenate([-votes, votes], 1) / 2 if classes == 2 else votes
    np.testing.assert_allclose(numbers_of(layer(WORDS)), wanted, rtol=1e-5)
    assert layer.compute_output_shape(WORDS.shape) == wanted.shape


@pytest.mark.parametrize("classes", [2, 4])
def test_the_ratios_are_those_of_naive_bayes(classes):
    draw = np.random.default_rng(1)
    words, labels = draw.integers(1, 30, (80, 9)).astype("int32"), np.arange(80) % classes
    words[:, 6:] = 0
    layer = WordVotes(classes, rows=1000)
    layer.build(words.shape)
    counts = counted(layer, words)
    expected = np.zeros((80, 1000))
    for row, text in zip(expected, words):
        np.add.at(row, rows_of(text, 2, 1000), 1)
    np.testing.assert_array_equal(counts.toarray(), expected)
    from sklearn.naive_bayes import MultinomialNB

    for label in range(classes):
        wanted = np.diff(MultinomialNB().fit(expected > 0, labels == label).feature_log_prob_, axis=0)[0]
        np.testing.assert_allclose(naive_bayes(counts, labels, classes)[label], wanted, atol=1e-9)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_votes_learn_which_words_tell(classes):
    """Each class has a word of its own, among thirty words that tell nothing; scikit-learn's naive Bayes is the comparison."""
    draw = np.random.default_rng(2)
    words, labels = draw.integers(10, 40, (300, 8)).astype("int32"), np.arange(300) % classes
    words[np.arange(300), draw.integers(0, 8, 300)] = 1 + labels
    layer = WordVotes(classes, rows=5000)
    layer.build(words.shape)
    assert fit_votes(layer, (words[:200], labels[:200]), (words[200:], labels[200:])) == 1
    assert (numbers_of(layer(words[200:])).argmax(1) == labels[200:]).all()


def test_the_memory_is_trained_alone_and_joined_afterwards():
    memory, linear = np.array([[1.0, -2.0]], "float32"), np.array([[3.0, 4.0]], "float32")
    both = AfterTraining(0.5)
    np.testing.assert_array_equal(numbers_of(both([memory, linear], training=True)), memory)
    np.testing.assert_array_equal(numbers_of(both([memory, linear])), [[3.5, 3.0]])


def test_training_leaves_the_table_as_it_is(tmp_path):
    words = keras.Input((6,), dtype="int32")
    logits = keras.layers.Dense(3)(keras.ops.cast(words, "float32"))
    model = keras.Model(words, AfterTraining()([logits, WordVotes(3, rows=50, name="votes")(words)]))
    table = np.random.default_rng(0).normal(size=(50, 3)).astype("float32")
    model.get_layer("votes").table.assign(table)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(WORDS, np.array([0, 1, 2]), verbose=0)
    model.save(tmp_path / "votes.keras")
    again = keras.saving.load_model(tmp_path / "votes.keras")
    np.testing.assert_array_equal(numbers_of(again.get_layer("votes").table), table)
    np.testing.assert_array_equal(numbers_of(again(WORDS)), numbers_of(model(WORDS)))


def test_votes_say_how_many_words_a_feature_may_have():
    with pytest.raises(ValueError, match="1, 2 or 3 words per feature, not 4"):
        WordVotes(2, longest=4)


@pytest.mark.parametrize("name", ["vectors.txt", "vectors.txt.gz"])
def test_word_vectors_fill_up_the_vocabulary(tmp_path, name):
    lines = "4 2\nthe 0.5 -1\n, 1 1\nfilm 2 0.25\ngood 3 3\n"
    path = tmp_path / name
    path.write_bytes(gzip.compress(lines.encode()) if name.endswith("gz") else lines.encode())
    words, vectors = vectors_of(path, ["", "[UNK]", "film", "zyx"], size=5)
    assert words == ["", "[UNK]", "film", "zyx", "the"]  # "," is no word, and there is no room for "good"
    np.testing.assert_array_equal(vectors, [[0, 0], [0, 0], [2, 0.25], [0, 0], [0.5, -1]])


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("film 1 2\ngood 1\n", "line 2: expected 2 finite numbers after 'good', got 1"),
        ("film 1 2\ngood 1 nan\n", "line 2: expected 2 finite numbers"),
        ("film 1 2\ngood 1 x\n", "line 2: expected 'good' and numbers"),
        ("no 1 2\n", "has a vector for none of the 2 words"),
    ],
)
def test_word_vectors_that_cannot_be_read(tmp_path, content, problem):
    path = tmp_path / "vectors.txt"
    path.write_text(content)
    with pytest.raises(UserError, match=problem):
        vectors_of(path, ["", "[UNK]", "film", "good"], size=4)
    with pytest.raises(UserError, match=r"missing\.txt cannot be read"):
        vectors_of(tmp_path / "missing.txt", ["", "[UNK]", "film"], size=3)


def test_wide_vectors_are_projected_onto_their_principal_components():
    draw = np.random.default_rng(0)
    plane = draw.normal(size=(40, 2)) @ draw.normal(size=(2, 6))  # two dimensions suffice
    vectors = np.concatenate([np.zeros((2, 6)), plane])
    fitted = fitting(vectors, 2)
    assert fitted.shape == (42, 2)
    assert not fitted[0].any()
    assert fitted[1].any()
    factor = np.linalg.norm(fitted[2]) / np.linalg.norm(plane[0])
    np.testing.assert_allclose(fitted[2:] @ fitted[2:].T, factor**2 * plane @ plane.T, atol=1e-4)
    assert abs(fitted[2:].std() - 0.1) < 1e-3
    with pytest.raises(UserError, match="width must be at most 6"):
        fitting(vectors, 7)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="strings are TensorFlow's")
def test_a_text_model_starts_from_word_vectors_and_a_linear_model(tmp_path):
    (tmp_path / "vectors.txt").write_text("great 1 0\nunheard 0 1\nfilm 1 1\n")
    zoo = find("text")
    data = zoo.data(words=300, vectors=str(tmp_path / "vectors.txt"))
    model = zoo.build(units=3, width=2, longest=20, votes=500, **data.build)
    place = {word: number for number, word in enumerate(data.vocabulary)}
    vectors = model.get_layer("meaning").get_weights()[0]
    factor = vectors[place["great"], 0]
    np.testing.assert_allclose(
        vectors[[place["unheard"], place["film"]]], factor * np.array([[0, 1], [1, 1]]), rtol=1e-5
    )
    zoo.start(model, data)
    texts, labels = data.arrays("test", 200)
    votes = numbers_of(model.get_layer("votes")(model.get_layer("words")(keras.ops.convert_to_tensor(texts))))
    assert np.mean(votes.argmax(1) == labels) > np.bincount(labels).max() / len(labels) + 0.1


def test_more_words_than_the_hash_has_room_for():
    with pytest.raises(UserError, match="at most 14,000 words, not 14,001: --set words=14000"):
        find("text").build(vocabulary=["", "[UNK]", *map(str, range(13_999))], votes=100, vote_words=3)


def test_two_linear_models_are_refused():
    with pytest.raises(UserError, match="set one of them to 0"):
        find("text").build(pairs=8, votes=8)
