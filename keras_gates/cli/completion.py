"""``keras-gates completion bash``: the script that lets a shell complete commands, options and their values.

It is generated from the commands' own parsers, so that it needs nothing at run time.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

SHELLS = ("bash", "zsh", "fish")
EPILOG = """to switch it on:
  bash   echo 'source <(keras-gates completion bash)' >> ~/.bashrc
  zsh    echo 'source <(keras-gates completion zsh)' >> ~/.zshrc      (after compinit)
  fish   keras-gates completion fish > ~/.config/fish/completions/keras-gates.fish"""


class Option(NamedTuple):
    """One option: its spellings, what it does, its values if they are known, and whether it takes a value."""

    flags: tuple[str, ...]
    help: str
    choices: tuple[str, ...]
    takes_value: bool


@dataclass(frozen=True)
class Command:
    """One command: what it does, the words that may follow it at once, and its options."""

    help: str
    words: tuple[str, ...]
    options: tuple[Option, ...]


def parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    options = argparse.ArgumentParser(
        prog="keras-gates completion",
        description="Print a script that lets a shell complete the commands and options of keras-gates.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("shell", choices=SHELLS, help="for which shell")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments after ``keras-gates completion``; None takes those of the process.

    Returns:
        Exit status: 0.
    """
    from keras_gates.cli import command_parsers

    shell = parser().parse_args(argv).shell
    sys.stdout.write(script(shell, {name: described(one) for name, one in command_parsers().items()}))
    return 0


def described(one: argparse.ArgumentParser) -> Command:
    """Return what a shell needs to know of a command.

    Args:
        one: The command's parser.
    """
    options: list[Option] = []
    words: list[str] = []
    for action in one._actions:
        choices = tuple(map(str, action.choices)) if action.choices is not None else ()
        if action.option_strings:
            text = (action.help or "").replace("%(default)s", str(action.default)).replace("%%", "%")
            options.append(Option(tuple(action.option_strings), text, choices, action.nargs != 0))
        elif choices and not words:
            words = list(choices)
    if one.prog.endswith("train.py"):
        from keras_gates.models.registry import names

        words = [*names(), "check"]
    return Command((one.description or "").split(". ")[0].rstrip("."), tuple(words), tuple(options))


def script(shell: str, commands: Mapping[str, Command]) -> str:
    """Return the script for a shell.

    Args:
        shell: "bash", "zsh" or "fish".
        commands: By name.
    """
    if shell == "fish":
        return _fish(commands)
    # zsh runs completions that are written for bash; quotes and file names are then zsh's.
    start = "autoload -U +X bashcompinit && bashcompinit\n" if shell == "zsh" else ""
    return start + _bash(commands)


def _bash(commands: Mapping[str, Command]) -> str:
    values, flags, words = [], [], []
    for name, command in commands.items():
        every = [flag for option in command.options for flag in option.flags]
        flags.append(f'    {name}) words="{" ".join(every)}" ;;')
        if command.words:
            words.append(f'    {name}) words="{" ".join(command.words)}" ;;')
        for option in command.options:
            if option.choices:
                pattern = "|".join(f'"{name} {flag}"' for flag in option.flags)
                values.append(f'    {pattern}) words="{" ".join(option.choices)}" ;;')
    names = " ".join([*commands, "--version", "--help"])
    return f"""# keras-gates: completion of commands, options and values
_keras_gates() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" command="${{COMP_WORDS[1]}}" words=""
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "{names}" -- "$current"))
    return
  fi
  case "$command ${{COMP_WORDS[COMP_CWORD-1]}}" in
{chr(10).join(values)}
  esac
  if [ -z "$words" ]; then case "$current" in
    -*) case "$command" in
{chr(10).join(flags)}
    esac ;;
    *) if [ "$COMP_CWORD" -eq 2 ]; then case "$command" in
{chr(10).join(words)}
    esac; fi ;;
  esac; fi
  if [ -n "$words" ]; then COMPREPLY=($(compgen -W "$words" -- "$current")); fi
}}
complete -o default -F _keras_gates keras-gates
"""


def _fish(commands: Mapping[str, Command]) -> str:
    lines = ["# keras-gates: completion of commands, options and values"]
    alone = "__fish_use_subcommand"
    lines.append(f"complete -c keras-gates -n {alone} -l version -d 'print the version and stop'")
    for name, command in commands.items():
        lines.append(f"complete -c keras-gates -n {alone} -f -a {name} -d {_quoted(command.help)}")
    for name, command in commands.items():
        here = f"complete -c keras-gates -n '__fish_seen_subcommand_from {name}'"
        if command.words:
            lines.append(f"{here} -a {_quoted(' '.join(command.words))}")
        for option in command.options:
            spelled = [f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.flags]
            value = (
                f" -x -a {_quoted(' '.join(option.choices))}" if option.choices else " -r" if option.takes_value else ""
            )
            lines.append(f"{here} {' '.join(spelled)}{value} -d {_quoted(option.help)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return shlex.quote(" ".join(text.split())).replace("'\"'\"'", "\\'")
