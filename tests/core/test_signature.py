"""Only what an allowed key signed opens, byte for byte; everything else is refused with the reason. Real OpenSSH."""

import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from edgetl.bundle import open_bundle
from edgetl.cli import app
from edgetl.errors import ArtefactError, ConfigError
from edgetl.runtime import load
from edgetl.runtime.serve.app import build
from edgetl.runtime.serve.config import ServeConfig
from edgetl.signature import SIGNATURE, sign, unlisted

ME = "release@example.org"

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen (openssh-client)")


def keygen(*arguments: object, message: bytes = b"") -> None:
    subprocess.run(["ssh-keygen", *map(str, arguments)], input=message, check=True, capture_output=True, timeout=30)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`own`, `other` and `locked` (with a passphrase); `allowed` lists the first and the last."""
    folder = tmp_path_factory.mktemp("keys")
    for name, passphrase in (("own", ""), ("other", ""), ("locked", "open sesame")):
        keygen("-q", "-t", "ed25519", "-N", passphrase, "-C", name, "-f", folder / name)
    (folder / "allowed").write_text("".join(f"{ME} {(folder / f'{n}.pub').read_text()}" for n in ("own", "locked")))
    return folder


@pytest.fixture(scope="module")
def signed_once(bundle: Path, keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(shutil.copytree(bundle, tmp_path_factory.mktemp("signed") / "stripes"))
    sign(folder, keys / "own")
    return folder


@pytest.fixture
def signed(signed_once: Path, tmp_path: Path) -> Path:
    """A signed bundle that the test may damage."""
    return Path(shutil.copytree(signed_once, tmp_path / "signed"))


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def verify(bundle: Path, allowed: Path, *more: object) -> Result:
    return command("verify", bundle, "--allowed-signers", allowed, *more)


def test_what_is_signed_verifies_and_says_who_it_was(own_bundle: Path, keys: Path) -> None:
    before = {path.name for path in own_bundle.iterdir()}
    assert command("sign", own_bundle, "--key", keys / "own").exit_code == 0
    assert {path.name for path in own_bundle.iterdir()} - before == {SIGNATURE}
    result = verify(own_bundle, keys / "allowed", "--json")
    said = json.loads(result.stdout)
    assert result.exit_code == 0 and said["signer"]["identity"] == ME and said["unlisted"] == []
    assert said["signer"]["key"].startswith("ED25519 SHA256:")
    assert said["files"] == len(open_bundle(own_bundle).manifest.files)


def test_signing_again_replaces(signed: Path, keys: Path) -> None:
    sign(signed, keys / "other")
    assert verify(signed, keys / "allowed").exit_code == 4
    sign(signed, keys / "own")
    assert verify(signed, keys / "allowed", "--identity", ME).exit_code == 0


def test_a_damaged_bundle_is_not_signed(own_bundle: Path, keys: Path) -> None:
    (own_bundle / "labels.txt").write_text("amber\nmoss\nslates\n")
    result = command("sign", own_bundle, "--key", keys / "own")
    assert result.exit_code == 4 and "labels.txt" in result.stderr
    assert not (own_bundle / SIGNATURE).exists()


def edited(signed: Path, keys: Path) -> list[object]:
    path = signed / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"failed"', b'"verified"') + b" ")
    return [keys / "allowed"]


def resigned(signed: Path, keys: Path) -> list[object]:
    sign(signed, keys / "other")
    return [keys / "allowed"]


def unsigned(signed: Path, keys: Path) -> list[object]:
    (signed / SIGNATURE).unlink()
    return [keys / "allowed"]


def for_something_else(signed: Path, keys: Path) -> list[object]:
    (signed / SIGNATURE).unlink()
    keygen("-q", "-Y", "sign", "-f", keys / "own", "-n", "file", signed / "manifest.json")
    return [keys / "allowed"]


def listed_as(options: str) -> Callable[[Path, Path], list[object]]:
    def change(signed: Path, keys: Path) -> list[object]:
        allowed = signed.parent / "allowed"
        allowed.write_text(f"{ME} {options} {(keys / 'own.pub').read_text()}")
        return [allowed]

    return change


def revoked(signed: Path, keys: Path) -> list[object]:
    keygen("-q", "-k", "-f", signed.parent / "krl", keys / "own.pub")
    return [keys / "allowed", "--revoked", signed.parent / "krl"]


def revoked_as_text(signed: Path, keys: Path) -> list[object]:
    return [keys / "allowed", "--revoked", keys / "own.pub"]


def somebody_else(signed: Path, keys: Path) -> list[object]:
    return [keys / "allowed", "--identity", "ops@example.org"]


def garbage(signed: Path, keys: Path) -> list[object]:
    (signed / SIGNATURE).write_bytes(b"-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n")
    return [keys / "allowed"]


def longer(signed: Path, keys: Path) -> list[object]:
    path = signed / SIGNATURE
    path.write_bytes(path.read_bytes() + b"\n")
    return [keys / "allowed"]


def flood(signed: Path, keys: Path) -> list[object]:
    (signed / SIGNATURE).write_bytes(b"A" * 2**17)
    return [keys / "allowed"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edited, "incorrect signature"),
        (resigned, "No principal matched"),
        (unsigned, "is not signed"),
        (for_something_else, "namespace does not match"),
        (listed_as('namespaces="git"'), "not permitted"),
        (listed_as('valid-before="20200101Z"'), "expired"),
        (revoked, "revokes the key"),
        (revoked_as_text, "revokes the key"),
        (somebody_else, "`ops@example.org` is not who signed"),
        (garbage, "invalid format"),
        (longer, "not as ssh-keygen writes it"),
        (flood, "larger than"),
    ],
)
def test_what_no_allowed_key_signed_is_refused_everywhere(
    signed: Path, keys: Path, change: Callable[[Path, Path], list[object]], message: str
) -> None:
    allowed, *more = change(signed, keys)
    result = verify(signed, Path(str(allowed)), *more)
    assert result.exit_code == 4 and message in result.stderr and result.stdout == ""
    if not more:
        with pytest.raises(ArtefactError, match=message):
            load(signed, require_signature=str(allowed))
        with pytest.raises(ArtefactError, match=message):
            build([signed], ServeConfig(), require_signature=Path(str(allowed)))


@pytest.mark.parametrize("options", ['namespaces="edgetl-bundle"', 'valid-before="20990101Z"'])
def test_what_the_list_restricts_to_is_allowed(signed: Path, keys: Path, options: str) -> None:
    (allowed,) = listed_as(options)(signed, keys)
    assert verify(signed, Path(str(allowed))).exit_code == 0


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "link", "folder"])
def test_every_file_that_differs_is_named(signed: Path, keys: Path, tmp_path: Path, damage: str) -> None:
    """Two variants and what they share; `python -m benchmarks.tampering` does it with every file."""
    outside = tmp_path / "outside"
    others = ("openvino-fp32/", "onnxruntime-int8/", "golden/samples/00", "golden/samples/01", "golden/samples/02")
    for record in open_bundle(signed).manifest.files:
        if record.path.startswith(others):
            continue
        path = signed / record.path
        content = path.read_bytes()
        middle = len(content) // 2
        if damage == "flip":
            path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
        elif damage == "truncate":
            path.write_bytes(content[:-1])
        else:
            path.unlink()
        if damage == "link":
            outside.write_bytes(content)
            path.symlink_to(outside)
        elif damage == "folder":
            path.mkdir()
        with pytest.raises(ArtefactError) as refused:
            open_bundle(signed, allowed_signers=keys / "allowed").verify()
        assert record.path in refused.value.message
        if damage == "folder":
            path.rmdir()
        path.unlink(missing_ok=True)
        path.write_bytes(content)
    assert verify(signed, keys / "allowed").exit_code == 0


def test_the_bytes_that_were_verified_are_those_that_count(signed: Path, keys: Path, tmp_path: Path) -> None:
    """Somebody exchanges the manifest while its signature is being verified."""
    evil = tmp_path / "evil.json"
    evil.write_bytes((signed / "manifest.json").read_bytes().replace(b"amber", b"ember"))
    program = tmp_path / "bin" / "ssh-keygen"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\ncp "{evil}" "{signed / "manifest.json"}"\nexec {shutil.which("ssh-keygen")} "$@"\n')
    program.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(program.parent), prepend=os.pathsep)
        opened = open_bundle(signed, allowed_signers=keys / "allowed")
    assert (signed / "manifest.json").read_bytes() == evil.read_bytes()
    assert opened.manifest.task.labels[0] == "amber"


def test_a_file_exchanged_after_it_was_verified_is_noticed(signed: Path, keys: Path) -> None:
    """Same size, time of change set back: the kernel's own time of change and the inode tell."""
    opened = open_bundle(signed, allowed_signers=keys / "allowed")
    path = opened.file("labels.txt")
    was = path.stat()
    path.write_text("moss\namber\nslate\n")
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    with pytest.raises(ArtefactError, match="differs"):
        opened.file("labels.txt")


def test_files_that_nobody_listed_are_told(signed: Path, keys: Path) -> None:
    for name in ("measurements.json", "report.html", "plans/host.json", "extra.bin", "golden/more/one.png"):
        (signed / name).parent.mkdir(parents=True, exist_ok=True)
        (signed / name).write_text("x")
    (signed / "linked").symlink_to(signed.parent)
    assert unlisted(open_bundle(signed)) == ["extra.bin", "golden/more/one.png", "linked"]
    result = verify(signed, keys / "allowed")
    assert result.exit_code == 0 and "`golden/more/one.png`" in result.stderr


def test_a_session_knows_its_signer(signed: Path, keys: Path) -> None:
    with load(signed, variant="onnxruntime-fp32", require_signature=keys / "allowed") as session:
        assert session.bundle.signer is not None and session.bundle.signer.identity == ME
    with load(open_bundle(signed), variant="onnxruntime-fp32", require_signature=keys / "allowed") as session:
        assert session.bundle.signer is not None
    assert load(signed, variant="onnxruntime-fp32").bundle.signer is None


def test_a_list_that_is_not_there_is_a_wrong_call(signed: Path, keys: Path) -> None:
    assert verify(signed, keys / "nowhere").exit_code == 2
    assert verify(signed, keys / "allowed", "--revoked", keys / "nowhere").exit_code == 2
    assert command("sign", signed, "--key", keys / "nowhere").exit_code == 2


@pytest.mark.parametrize(
    ("script", "message"),
    [(None, "openssh-client"), ("echo 'illegal option -- Y\nusage: ssh-keygen [-q]' >&2; exit 1", "too old")],
)
def test_without_a_usable_ssh_keygen_nothing_is_trusted(
    signed: Path, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, message: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if script:
        (tmp_path / "ssh-keygen").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "ssh-keygen").chmod(0o755)
    result = verify(signed, keys / "allowed")
    assert result.exit_code == 3 and message in result.stderr
    with pytest.raises(Exception, match=message):
        load(signed, require_signature=keys / "allowed")


def test_a_passphrase_without_a_terminal_is_an_error_and_no_wait(own_bundle: Path, keys: Path) -> None:
    with pytest.raises(ConfigError, match="passphrase") as refused:
        sign(own_bundle, keys / "locked")
    assert "ssh-add" in (refused.value.hint or "")
    assert not (own_bundle / SIGNATURE).exists()


ON_A_TERMINAL = """
import fcntl, pathlib, sys, termios
from edgetl.signature import sign
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
sign(*map(pathlib.Path, sys.argv[1:]))
"""


def test_a_passphrase_is_asked_for_on_the_terminal(own_bundle: Path, keys: Path) -> None:
    own, theirs = pty.openpty()
    seen, ends = b"", time.monotonic() + 60
    with subprocess.Popen(
        [sys.executable, "-c", ON_A_TERMINAL, str(own_bundle), str(keys / "locked")],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            while b"passphrase" not in seen:
                ready, _, _ = select.select([own], [], [], max(0.0, ends - time.monotonic()))
                assert ready, f"no question within a minute, only {seen!r}"
                seen += os.read(own, 1024)
            os.write(own, b"open sesame\n")
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()
            os.close(own)
            os.close(theirs)
    assert verify(own_bundle, keys / "allowed").exit_code == 0


@pytest.fixture
def agent(keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An SSH agent that holds `own`."""
    socket = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        for _ in range(500):
            if socket.exists():
                break
            time.sleep(0.01)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        subprocess.run(["ssh-add", "-q", str(keys / "own")], check=True, capture_output=True, timeout=30)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


@pytest.mark.usefixtures("agent")
def test_the_agent_signs_with_the_public_key_alone(own_bundle: Path, keys: Path, tmp_path: Path) -> None:
    public = Path(shutil.copy(keys / "own.pub", tmp_path / "key.pub"))
    sign(own_bundle, public)
    assert verify(own_bundle, keys / "allowed").exit_code == 0
    other = Path(shutil.copy(keys / "other.pub", tmp_path / "other.pub"))
    with pytest.raises(ConfigError, match="No private key"):
        sign(own_bundle, other)


@pytest.mark.parametrize("option", ["--allowed-signers", "--revoked"])
def test_a_list_that_cannot_even_be_looked_for_is_a_wrong_call(signed: Path, keys: Path, option: str) -> None:
    result = verify(signed, keys / "allowed", option, "x" * 300)
    assert result.exit_code == 2 and "is no file that can be read" in result.stderr
    assert "does not exist" in command("sign", signed, "--key", "x" * 300).stderr


def test_an_empty_identity_is_not_anybody(signed: Path, keys: Path) -> None:
    result = verify(signed, keys / "allowed", "--identity", "")
    assert result.exit_code == 2 and "the identity is empty" in result.stderr and "hint:" in result.stderr


@pytest.mark.parametrize("content", [b"\0\1garbage", b"no key\n", b"SHA256:8d0f0RuafUq07f6zUtiZnBZoJn08UyC4UAqbN\n"])
def test_a_revocation_list_that_revokes_nothing_is_refused(
    signed: Path, keys: Path, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "revoked").write_bytes((keys / "other.pub").read_bytes() + content)
    result = verify(signed, keys / "allowed", "--revoked", tmp_path / "revoked")
    assert result.exit_code == 2 and "line 2 of" in result.stderr and "is no public key" in result.stderr


def test_a_revocation_list_has_comments_and_may_be_empty(signed: Path, keys: Path, tmp_path: Path) -> None:
    (tmp_path / "revoked").write_bytes(b"# lost in May\n\n" + (keys / "other.pub").read_bytes())
    assert verify(signed, keys / "allowed", "--revoked", tmp_path / "revoked").exit_code == 0
    (tmp_path / "revoked").write_bytes(b"")
    assert verify(signed, keys / "allowed", "--revoked", tmp_path / "revoked").exit_code == 0


def test_a_key_that_others_may_read_is_told_how_to_mend(own_bundle: Path, keys: Path, tmp_path: Path) -> None:
    key = Path(shutil.copy(keys / "own", tmp_path / "key"))
    key.chmod(0o644)
    result = command("sign", own_bundle, "--key", key)
    assert result.exit_code == 2 and f"`chmod 600 {key}`" in result.stderr
    assert not (own_bundle / SIGNATURE).exists()
    assert "is no file" in command("sign", own_bundle, "--key", tmp_path).stderr
