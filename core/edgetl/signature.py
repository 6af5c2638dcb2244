"""The signature of a bundle: `manifest.json.sig` over `manifest.json`, made and judged by `ssh-keygen -Y`.

The format is OpenSSH's SSHSIG (its file PROTOCOL.sshsig), so keys, agents, certificates, hardware keys, lists of
allowed signers and revocation lists are those of SSH. What a signature means, and what not: docs/trust.md.
"""

import errno
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from edgetl.bundle import Bundle, decoded_bundle, manifest_bytes
from edgetl.errors import ArtefactError, ConfigError, DependencyError
from edgetl.files import write_bytes

NAMESPACE = "edgetl-bundle"
"""Part of what is signed: a signature made for something else (git, a file) is none of a bundle."""

SIGNATURE = "manifest.json.sig"
BESIDE = ("manifest.json", SIGNATURE, "measurements.json", "report.html")
"""Files that no manifest lists; so are those below plans/."""

ARMOUR = re.compile(rb"-----BEGIN SSH SIGNATURE-----\n([A-Za-z0-9+/=]{1,80}\n){1,600}-----END SSH SIGNATURE-----\n")
"""The whole file as ssh-keygen writes it, nothing before, between or after."""

KRL = b"SSHKRL\n"
"""How a binary revocation list begins."""

PUBLIC_KEY = re.compile(rb"\s*(#.*|(ssh|ecdsa|sk)-\S+[ \t]+AAAA[A-Za-z0-9+/=]+([ \t].*)?)?\s*")
"""A line of a revocation list as text. ssh-keygen passes over all others, and would revoke nothing."""

MAX_SIGNATURE_BYTES = 2**16
UNATTENDED_S = 120
"""So long ssh-keygen may wait for an agent or a program that asks for the passphrase."""

VERIFY_S = 30
REASONS = {
    "incorrect signature": "manifest.json was changed after it was signed: do not trust this bundle",
    "namespace does not match": f"it was not made for bundles: `edgetl sign` does it, with the namespace `{NAMESPACE}`",
    "not permitted for use": f"the list allows this key, but not for `{NAMESPACE}`",
    "expired": "have the bundle signed again with a key that is still allowed",
    "No principal matched": "the key that signed is not in the list: do not trust this bundle, or add who it is",
}
"""What ssh-keygen says → what to do."""


class Signer(msgspec.Struct, frozen=True, kw_only=True):
    """Who signed: the identity that the list of allowed signers gives the key, and the key: type and fingerprint."""

    identity: str
    key: str


def sign(bundle: Path, key: Path) -> Path:
    """Verifies every file of the bundle, signs its manifest and writes `manifest.json.sig` whole or not at all.

    `key`: a private key, or the public one of a key that the SSH agent holds. A passphrase is asked for on the
    terminal; without a terminal the agent or SSH_ASKPASS must have it. Raises ArtefactError for a damaged bundle,
    ConfigError for a key that cannot sign, DependencyError without ssh-keygen.
    """
    there = os.access(key, os.F_OK)  # is_file raises in a folder that is locked
    if not there or not key.is_file():
        what = "is no file" if there else "does not exist"
        raise ConfigError(f"the key `{key}` {what}", hint="`ssh-keygen -t ed25519 -f KEY` makes one")
    raw = manifest_bytes(bundle)
    decoded_bundle(bundle, raw).verify()
    path = bundle / SIGNATURE
    try:
        write_bytes(path, _signature_of(raw, key))
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise ArtefactError(
            f"`{path}` cannot be written: {error.strerror}", hint="sign a copy of the bundle"
        ) from error
    return path


def verified_manifest(
    bundle: Path, allowed: Path, *, identity: str | None = None, revoked: Path | None = None
) -> tuple[bytes, Signer]:
    """The bytes of the manifest, read once, and who in the list `allowed` signed them: `identity`, or anyone in it.

    `revoked`: a revocation list (KRL) or a file of public keys that do not count any more.
    Raises ArtefactError for a bundle that is not signed or not by one of these, ConfigError for a list that is not
    there or an empty identity, DependencyError without ssh-keygen.
    """
    if identity is not None and not identity.strip():
        raise ConfigError("the identity is empty", hint="name who must have signed, or leave it away for anyone listed")
    for listed in (allowed, *([revoked] if revoked else [])):
        if not (os.access(listed, os.R_OK) and listed.is_file()):  # is_file raises in a folder that is locked
            raise ConfigError(f"`{listed}` is no file that can be read", hint="check the path and its permissions")
    if revoked:
        _check_revoked(revoked)
    raw, signature = manifest_bytes(bundle), _signature_bytes(bundle)
    with tempfile.TemporaryDirectory(prefix="edgetl-") as folder:
        copy = Path(folder) / SIGNATURE
        copy.write_bytes(signature)
        asked = [identity] if identity is not None else _principals(bundle, copy, allowed)
        against = ["-f", str(allowed), "-n", NAMESPACE, "-s", str(copy)]
        words = ""
        for principal in asked:
            question = ["verify", *against, "-I", principal]
            done = _ssh_keygen([*question, *(["-r", str(revoked)] if revoked else [])], raw)
            if done.returncode == 0:
                return raw, Signer(identity=principal, key=_key(done.stdout))
            if revoked and _ssh_keygen(question, raw).returncode == 0:  # of this ssh-keygen says nothing
                words = f"`{revoked}` revokes the key, or is no revocation list"
            words = words or (_words(done) if done.stderr else f"`{principal}` is not who signed it")
    raise _refusal(bundle, words)


def unlisted(bundle: Bundle) -> list[str]:
    """Files in the folder that neither the manifest lists nor edgetl writes beside it, sorted. Nothing opens them."""
    known = {record.path for record in bundle.manifest.files} | {*BESIDE}
    found = [
        (Path(folder) / name).relative_to(bundle.path).as_posix()
        for folder, folders, names in os.walk(bundle.path)
        for name in [*names, *(each for each in folders if (Path(folder) / each).is_symlink())]
    ]
    return sorted(path for path in found if path not in known and not path.startswith("plans/"))


def _signature_of(raw: bytes, key: Path) -> bytes:
    """The armoured signature of `raw`, checked once. ssh-keygen keeps the terminal, where there is one, for itself."""
    attended = sys.stdin is not None and sys.stdin.isatty()
    with tempfile.TemporaryDirectory(prefix="edgetl-") as folder:
        message = Path(folder) / "manifest.json"
        message.write_bytes(raw)
        try:
            done = subprocess.run(
                [_program(), "-q", "-Y", "sign", "-f", str(key), "-n", NAMESPACE, str(message)],
                stdin=None if attended else subprocess.DEVNULL,
                stderr=None if attended else subprocess.PIPE,
                start_new_session=not attended,  # or it would ask, and wait, on a terminal that nobody watches
                timeout=None if attended else UNATTENDED_S,
            )
        except subprocess.TimeoutExpired as error:
            raise ConfigError(f"`{key}` did not sign within {UNATTENDED_S} s", hint="is the agent locked?") from error
        made = message.with_name(SIGNATURE)
        if done.returncode or not made.is_file():
            raise ConfigError(
                f"`{key}` cannot sign" + (f": {_words(done)}" if done.stderr else ""),
                hint=_signing_hint(done.stderr or b"", key),
            )
        checked = _ssh_keygen(["check-novalidate", "-n", NAMESPACE, "-s", str(made)], raw)
        if checked.returncode:
            raise ConfigError(f"`{key}` made a signature that does not hold: {_words(checked)}", hint="use another key")
        return made.read_bytes()


def _signing_hint(words: bytes, key: Path) -> str:
    if b"passphrase" in words:
        return "a passphrase needs a terminal, `ssh-add KEY` beforehand, or SSH_ASKPASS"
    if b"are too open" in words:
        return f"others may read the key, so SSH ignores it: `chmod 600 {key}`"
    return "it takes a private key of your own, or the public key of one that `ssh-add -l` shows"


def _signature_bytes(bundle: Path) -> bytes:
    path = bundle / SIGNATURE
    if not path.is_file():
        raise ArtefactError(
            f"`{bundle}` is not signed: it has no {SIGNATURE}", hint=f"`edgetl sign {bundle} --key KEY`"
        )
    if path.stat().st_size > MAX_SIGNATURE_BYTES:
        raise ArtefactError(f"`{path}` is larger than {MAX_SIGNATURE_BYTES} bytes", hint="this is no signature")
    content = path.read_bytes()
    if not ARMOUR.fullmatch(content):
        raise _refusal(bundle, f"{SIGNATURE} is not as ssh-keygen writes it")
    return content


def _check_revoked(path: Path) -> None:
    """Refuses a list that ssh-keygen would read as an empty one."""
    content = path.read_bytes()
    if content.startswith(KRL):
        return
    for number, line in enumerate(content.splitlines(), 1):
        if not PUBLIC_KEY.fullmatch(line):
            raise ConfigError(
                f"line {number} of `{path}` is no public key, so it would revoke nothing",
                hint="`ssh-keygen -k -f LIST KEY.pub` makes a revocation list; as text, a public key a line",
            )


def _principals(bundle: Path, signature: Path, allowed: Path) -> list[str]:
    """The identities that the list gives the key of this signature."""
    done = _ssh_keygen(["find-principals", "-s", str(signature), "-f", str(allowed)])
    found = done.stdout.decode(errors="replace").splitlines()
    if done.returncode or not found:
        raise _refusal(bundle, _words(done))
    return found


def _refusal(bundle: Path, words: str) -> ArtefactError:
    hint = next((hint for known, hint in REASONS.items() if known in words), "do not trust this bundle")
    return ArtefactError(f"the signature of `{bundle}` is refused: {words}", hint=hint)


def _ssh_keygen(arguments: list[str], message: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    program = _program()
    try:
        done = subprocess.run([program, "-Y", *arguments], input=message, capture_output=True, timeout=VERIFY_S)
    except subprocess.TimeoutExpired as error:
        raise DependencyError(f"`{program}` did not answer within {VERIFY_S} s", hint="try it by hand") from error
    if b"usage: ssh-keygen" in done.stderr:
        raise DependencyError(
            f"`{program}` is too old for signatures", hint="it takes OpenSSH 8.2, better 8.9, or newer"
        )
    return done


def _program() -> str:
    if program := shutil.which("ssh-keygen"):
        return program
    raise DependencyError("`ssh-keygen` is not installed", hint="it is in Debian's package `openssh-client`")


def _words(done: "subprocess.CompletedProcess[bytes]") -> str:
    """What ssh-keygen says is wrong: its first line, or its last where it begins with a banner."""
    lines = [line.strip() for line in (done.stderr or b"").decode(errors="replace").splitlines() if line.strip()]
    if not lines:
        return f"ssh-keygen ended with {done.returncode}"
    line = lines[-1] if lines[0].startswith("@") else lines[0]
    return re.sub(r"^Enter passphrase[^:]*: ", "", line)[:300]


def _key(good: bytes) -> str:
    """From `Good "NAMESPACE" signature for WHO with TYPE key FINGERPRINT`."""
    found = re.search(r" with (\S+) key (\S+)\s*$", good.decode(errors="replace"))
    return f"{found[1]} {found[2]}" if found else "unknown"
