"""Why another machine cannot be used: OpenSSH's words, the shell's or edgetl's, and what to do about each."""

from edgetl.devices.remote.protocol import Refused
from edgetl.devices.remote.target import Target
from edgetl.errors import ArtefactError, ConfigError, DataError, DependencyError, EdgetlError

SSH_FAILED, NOT_EXECUTABLE, NOT_FOUND = 255, 126, 127
"""Exit codes of `ssh`, and of a shell that could not start a command."""

SHOWN_CHARACTERS = 500

_KINDS = {kind.exit_code: kind for kind in (ConfigError, DependencyError, ArtefactError, DataError)}

_WORDS = {
    "Host key verification failed": "connect once with `ssh` and compare the key's fingerprint with the device's",
    "HOST IDENTIFICATION HAS CHANGED": "is it another device? `ssh-keygen -R HOST` forgets the old key",
    "Permission denied": "check the user, the key and the agent with plain `ssh`; fleets never ask for a password",
    "Could not resolve": "check the name, or use the address",
    "Connection refused": "is the SSH server running there, on that port?",
    "timed out": "is the device switched on and on this network?",
    "No route to host": "is the device switched on and on this network?",
}


class LinkLost(Exception):
    """The connection broke; whoever speaks over it may make it again."""


def explained(target: Target, code: int | None, errors: str, problem: str) -> DependencyError:
    """Why no channel was opened, from `ssh`'s exit code and what was printed."""
    said = one_line(errors) or problem
    if code in (NOT_FOUND, NOT_EXECUTABLE):
        return DependencyError(
            f"`{target.edgetl}` cannot be run on `{target.host}`: {said}",
            hint="install edgetl there, and name it with `--remote-edgetl /path/to/edgetl`: a command that is run over "
            "SSH often finds less than a login shell",
        )
    if code == SSH_FAILED:
        hint = next((hint for words, hint in _WORDS.items() if words in errors), "try the same with plain `ssh`")
        return DependencyError(f"`{target.address}` cannot be reached: {said}", hint=hint)
    if "remote-end" in errors:
        return DependencyError(
            f"the edgetl on `{target.host}` cannot be used from elsewhere: {said}", hint="install a newer edgetl there"
        )
    return DependencyError(
        f"edgetl does not answer on `{target.host}`: {said}", hint=f"does `{target.edgetl} --version` work there?"
    )


def refusal(reply: Refused) -> EdgetlError:
    """The other end's error as it would have been raised here."""
    kind = _KINDS.get(reply.exit_code, EdgetlError)
    return kind(printable(reply.message)[:2000], hint=printable(reply.hint)[:2000] if reply.hint else None)


def one_line(text: str) -> str:
    """The last lines of what was printed, joined, without what a terminal would obey."""
    lines = [line.strip() for line in text.splitlines() if line.strip(" \r\t@")]
    return printable(" · ".join(lines[-3:]))[-SHOWN_CHARACTERS:]


def printable(text: str) -> str:
    """`text` without control characters: another machine does not write to this terminal as it likes."""
    return "".join(char if char.isprintable() else " " for char in text)
