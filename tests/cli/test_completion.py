"""Shell completion: the generated scripts in the shells themselves."""

import shutil
import subprocess

import pytest

from keras_gates import cli
from keras_gates.cli import completion

COMMANDS = ("train", "export", "c99", "look", "completion", "fit", "info", "predict", "stream", "bench")
# (words so far, some of what is offered, what is not)
CASES = [
    (["ex"], {"export"}, {"train"}),
    ([""], set(COMMANDS), {"--json"}),
    (["export", "model.keras", "out", "--prec"], {"--precision"}, {"--mode"}),
    (["export", "model.keras", "out", "--precision", ""], {"float32", "int8"}, {"sequence"}),
    (["train", "s"], {"show", "speech"}, {"text"}),
    (["completion", ""], {"bash", "zsh", "fish"}, {"tcsh"}),
    (["stream", "model.tflite", "--th"], {"--threads", "--threshold"}, {"--json"}),
]


@pytest.fixture(scope="module")
def scripts():
    described = {name: completion.described(one) for name, one in cli.command_parsers().items()}
    assert set(described) == set(COMMANDS)
    return {shell: completion.script(shell, described) for shell in completion.SHELLS}


def run(shell, text):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run(
        [shell, "-c", text], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=True
    )
    assert not done.stderr
    return {word for line in done.stdout.splitlines() for word in line.partition("\t")[0].split()}


@pytest.mark.parametrize(("words", "offered", "not_offered"), CASES)
def test_bash(scripts, words, offered, not_offered):
    line = " ".join(f"'{word}'" for word in ["keras-gates", *words])
    call = f"COMP_WORDS=({line}); COMP_CWORD={len(words)}; _keras_gates; echo ${{COMPREPLY[@]}}"
    answer = run("bash", f"{scripts['bash']}\ncomplete -p keras-gates >/dev/null || exit 1\n{call}")
    assert offered <= answer
    assert not answer & not_offered


@pytest.mark.parametrize(("words", "offered", "not_offered"), CASES)
def test_fish(scripts, tmp_path, words, offered, not_offered):
    (tmp_path / "c.fish").write_text(scripts["fish"], encoding="utf-8")
    text = f"source {tmp_path / 'c.fish'}; complete -C 'keras-gates {' '.join(words)}'"
    answer = run("fish", text)
    assert offered <= answer
    assert not answer & not_offered


def test_zsh(scripts, tmp_path):
    words = "COMP_WORDS=(keras-gates export m --precision i); COMP_CWORD=4; setopt ksharrays shwordsplit nonomatch"
    start = f"autoload -U compinit && compinit -u -d {tmp_path / 'dump'}"
    (tmp_path / "c.zsh").write_text(f"{start}\n{scripts['zsh']}\n{words}\n_keras_gates\n")
    answer = run("zsh", f"source {tmp_path / 'c.zsh'}; echo ${{COMPREPLY[@]}}")
    assert {"int8", "int16x8"} <= answer


def test_every_option_of_every_command_is_in_every_script(scripts):
    for one in cli.command_parsers().values():
        for action in one._actions:
            for flag in action.option_strings:
                assert flag in scripts["bash"].replace('"', " ").split(), flag
                assert (
                    f"-l {flag[2:]}" in scripts["fish"]
                    if flag.startswith("--")
                    else f"-s {flag[1:]}" in scripts["fish"]
                )


def test_the_command_prints_the_script(capsys, scripts):
    assert cli.main(["completion", "bash"]) == 0
    assert capsys.readouterr().out == scripts["bash"]


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"completion"}))
def test_every_command_can_answer_in_json_in_silence_and_in_detail(name):
    flags = {flag for action in cli.command_parsers()[name]._actions for flag in action.option_strings}
    assert {"--json", "--quiet", "--verbose"} <= flags
