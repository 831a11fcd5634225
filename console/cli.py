"""The `hoverboard` command: its verbs, each a file in `console/verbs/`.

A verb imports the layers below when it is executed, so that `--help` starts at once.
"""

from __future__ import annotations

from typing import Annotated

import typer

from console import guard, plain_text, rootless
from console.verbs import (
    apply,
    capture,
    demo,
    doctor,
    down,
    exec,
    experiment,
    flows,
    latency,
    model,
    offload,
    offloads,
    prompt,
    python,
    status,
    up,
    vm,
)
from console.verbs.options import Rootless, RunBefore, check_run_before
from hoverboard import programs

app = typer.Typer(
    cls=guard.GuardedGroup,
    help="A testbed that re-creates Google's Andromeda on Mininet and Open vSwitch.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
# Options after the first argument belong to the command that is run.
_COMMAND_FOLLOWS = {"allow_interspersed_args": False, "ignore_unknown_options": True}


def _print_version(asked: bool) -> None:
    """Print the version, and end."""
    if asked:
        from console.version import version_line

        print(version_line())
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    run: RunBefore = None,
    rootless: Rootless = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print version and commit.")
    ] = False,
) -> None:
    """Check that the run which is named here is for the verb that follows."""
    check_run_before(context)


app.command("demo")(demo.demo)
app.command("up")(up.up)
app.command("prompt")(prompt.prompt)
app.command("status")(status.status)
app.command("exec", context_settings=_COMMAND_FOLLOWS, options_metavar="[--run NAME] [--as USER]")(exec.execute)
app.command("flows")(flows.flows)
app.command("offloads")(offloads.offloads)
app.command("capture")(capture.capture)
app.command("latency")(latency.latency)
app.add_typer(vm.app, name="vm")
app.add_typer(model.app, name="model")
app.add_typer(offload.app, name="offload")
app.command("apply")(apply.apply)
app.command("down")(down.down)
app.add_typer(experiment.app, name="experiment")
app.command("doctor")(doctor.doctor)
app.command("python", context_settings=_COMMAND_FOLLOWS)(python.python)


def main() -> None:
    """Run the `hoverboard` command."""
    guard.make_files_private()
    rootless.begin()
    programs.complete_path()
    plain_text.install()
    app(prog_name="hoverboard")


if __name__ == "__main__":
    main()
