"""`spendstream down`: stop the embedded stack."""

from __future__ import annotations

from spendstream.deploy.commands.options import Json
from spendstream.deploy.console import print_json, say, working
from spendstream.deploy.home import Home
from spendstream.deploy.settings import load


def down(json: Json = False) -> None:
    """Stop the embedded stack and wait: everything sent is stored first."""
    from spendstream.deploy import background

    home = Home(load().home)
    with working("storing what was sent, then stopping"):
        stopped = background.stop(home)
    if json:
        print_json({"stopped": stopped, "home": str(home.path)})
    else:
        say("stopped" if stopped else f"no stack was running on {home.path}")
