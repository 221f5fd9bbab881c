"""`spendstream`: one command line for everything. Exit codes are in `failures`."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from typing import Final, cast

import typer

from spendstream.deploy import failures
from spendstream.deploy.commands import (
    deadletters,
    demo,
    doctor,
    down,
    partitions,
    plans,
    prices,
    replay,
    report,
    sink,
    topics,
    up,
    usage,
    verify,
    worker,
)
from spendstream.deploy.console import say

TRACEBACK_VARIABLE: Final = "SPENDSTREAM_TRACEBACK"
_NO: Final = frozenset({"", "0", "false", "no", "off"})

# Typer brings a click of its own, whose errors are not those of an installed click: the base of
# the one that Typer exports is right in either case.
ClickException: Final = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[2])

app = typer.Typer(
    help="Exact LLM usage and cost metering: who spent what, to the pico-dollar.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

RUN: Final = "Run"
LOOK: Final = "Look"
SET: Final = "Set"
FEED: Final = "Feed"
MEND: Final = "Mend"

app.command("up", rich_help_panel=RUN)(up.up)
app.command("down", rich_help_panel=RUN)(down.down)
app.command("demo", rich_help_panel=RUN)(demo.demo)
app.command("worker", rich_help_panel=RUN)(worker.worker)
app.command("sink", rich_help_panel=RUN)(sink.sink)
app.command("usage", rich_help_panel=LOOK)(usage.usage)
app.command("report", rich_help_panel=LOOK)(report.report)
app.command("deadletters", rich_help_panel=LOOK)(deadletters.deadletters)
app.command("verify", rich_help_panel=LOOK)(verify.verify)
app.command("doctor", rich_help_panel=LOOK)(doctor.doctor)
app.add_typer(plans.app, name="plans", rich_help_panel=SET)
app.add_typer(prices.app, name="prices", rich_help_panel=SET)
app.add_typer(topics.app, name="topics", rich_help_panel=SET)
app.command("replay", rich_help_panel=FEED)(replay.replay)
app.add_typer(partitions.app, name="partitions", rich_help_panel=MEND)


def main() -> None:
    """The console script: errors in plain words, exit codes that mean something."""
    # it prints a warning of its own for each error that is told here in plain words
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
    logging.getLogger("spendstream.api").handlers = [_Said()]
    try:
        code = app(standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(failures.INTERRUPTED)
    except BrokenPipeError:
        # `spendstream report | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(failures.OK)
    except Exception as error:  # the last one to catch it: people get a sentence and a code
        sys.exit(_explain(error))
    sys.exit(code if isinstance(code, int) else failures.OK)


class _Said(logging.Handler):
    """What the read side warns of, as everything else is said."""

    def emit(self, record: logging.LogRecord) -> None:
        say(f"spendstream: {record.getMessage()}")


def _explain(error: Exception) -> int:
    code = failures.exit_code(error)
    if os.environ.get(TRACEBACK_VARIABLE, "").strip().lower() not in _NO:
        traceback.print_exc()
    if isinstance(error, ClickException):
        error.show()
        return failures.WRONG_INPUT
    if code is not None:
        say(f"spendstream: {failures.plain(error)}")
        return code
    say(
        f"spendstream: unexpected {type(error).__name__}: {error}\n"
        f"This is a mistake in spendstream. {TRACEBACK_VARIABLE}=1 shows where."
    )
    return failures.UNEXPECTED


if __name__ == "__main__":
    main()
