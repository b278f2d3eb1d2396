"""The command line: ``handrail COMMAND ...``. Each command's module is imported when it is called,
so that ``handrail --help`` answers at once."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import os
import sys
from collections.abc import Callable

from handrail import __version__
from handrail.answers import answer_alone
from handrail.errors import HandrailError, Stopped

COMMANDS = {
    "tasks": "the tasks: sizes, horizon, what costs",
    "demos": "play the shipped expert and write demonstrations",
    "dataset": "play a data set of many returns and costs, for offline safe RL",
    "expert": "train a SAC expert on the shaped reward",
    "train": "train a method on a task",
    "resume": "go on with a run, bit for bit",
    "evaluate": "return, cost and violations of a run, a policy or demonstrations",
    "table": "a paper's table: tasks x methods x seeds, on all cores or a cluster",
    "figures": "draw runs: learning curves, the reward-cost plane",
    "results": "a page of results: tables, figures, the paper beside",
    "data": "check, convert or download a data set",
    "demo": "the main job: demonstrations, guide, student, compared and drawn",
}


def _help() -> str:
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:<{width}}{text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "usage: handrail COMMAND ...",
            "",
            "Offline-to-online safe reinforcement learning: demonstrations and a simulator",
            "with costs in, a small policy within its cost limit out.",
            "",
            *lines,
            "",
            "`handrail COMMAND --help` says what a command takes, with defaults and units.",
        ]
    )


def _fail(message: str, code: int = 2) -> int:
    """One clear line on standard error; the exit code of a user's mistake."""
    print(f"handrail: {message}", file=sys.stderr)
    return code


def answer(command: str, do: Callable[[], None]) -> int:
    """Do it; returns the exit code: 0, 2 for a user's mistake, 130 after Ctrl-C."""
    try:
        do()
        sys.stdout.flush()
        return 0
    except Stopped as stopped:
        return _fail(str(stopped), 130)
    except KeyboardInterrupt:
        return _fail("stopped", 130)
    except BrokenPipeError:  # `| head` has read enough; nor may the flush at exit complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except HandrailError as error:
        return _fail(str(error))
    except OSError as error:  # a file that may not be read or written, a full disk
        return _fail(f"{error.filename or command}: {error.strerror or error}")


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    command, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    return answer(command, lambda: _run(command, rest))


def _run(command: str, arguments: list[str]) -> None:
    if command in ("-h", "--help", "help"):
        print(_help())
    elif command == "--version":
        print(f"handrail {__version__}")
    elif command in COMMANDS:
        module = importlib.import_module(f"handrail.commands.{command}")
        with answer_alone() if "--json" in arguments else contextlib.nullcontext():
            module.main(arguments)
    else:
        close = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise HandrailError(f"unknown command {command!r}; {hint}`handrail --help` lists them")
