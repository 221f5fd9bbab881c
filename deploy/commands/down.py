"""`spendstream down`: stop the embedded stack."""

from __future__ import annotations

import typer

from spendstream.deploy import failures
from spendstream.deploy.commands.options import Json
from spendstream.deploy.console import print_json, say, working
from spendstream.deploy.home import Home
from spendstream.deploy.settings import load


def down(json: Json = False) -> None:
    """Stop the embedded stack and wait: everything sent is stored first.

    Exit code 1 where not all could be stored, with the reason.
    """
    from spendstream.deploy import background

    home = Home(load().home)
    with working("storing what was sent, then stopping"):
        stop = background.stop(home)
    if json:
        print_json({"stopped": stop.was_running, "fault": stop.fault, "home": str(home.path)})
    elif not stop.was_running:
        say(f"no stack was running on {home.path}")
    else:
        say("stopped" if stop.fault is None else f"stopped, but {stop.fault}")
    if stop.fault is not None:
        raise typer.Exit(failures.NOT_RIGHT)
