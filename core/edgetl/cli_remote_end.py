"""`edgetl remote-end`: what another machine's `--on` starts here over SSH. People do not call it."""

from edgetl.console import reports_errors


@reports_errors
def remote_end() -> None:
    """Answer the requests of another machine's edgetl on stdin and stdout."""
    from edgetl.devices.remote.end import serve

    serve()
