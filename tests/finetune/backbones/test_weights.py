"""Starting weights: what fits is loaded, what does not is named, nothing runs code."""

import dataclasses
import pickle
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file

from edgetl.errors import ArtefactError, DependencyError
from edgetl.files import sha256_of
from edgetl.finetune.backbones.registry import get_backbone, head_of, published_weights
from edgetl.finetune.backbones.weights import build_model, distinct, read_weights

BACKBONE = get_backbone("residual_cnn")


def state(classes: int = 5) -> dict[str, torch.Tensor]:
    return dict(BACKBONE.build(classes).state_dict())


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "wrapped.pth"])
def test_files_round_trip(tmp_path: Path, name: str) -> None:
    expected = state()
    if name.endswith("safetensors"):
        save_file(expected, tmp_path / name)
    else:
        torch.save({"state_dict": expected} if name == "wrapped.pth" else expected, tmp_path / name)
    weights = read_weights(BACKBONE, str(tmp_path / name))
    model, notes = build_model(BACKBONE, weights.state, None, seed=0)
    assert notes == [] and head_of(model).out_features == 5
    assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())
    assert len(weights.record.sha256) == 64


def test_a_head_of_another_size_is_dropped_and_said() -> None:
    expected = state()
    model, notes = build_model(BACKBONE, expected, 3, seed=0)
    assert notes == ["dropped the weights' own head (5 outputs) for one of 3"]
    assert head_of(model).out_features == 3
    assert torch.equal(model.state_dict()["stem.0.weight"], expected["stem.0.weight"])


def test_other_mismatches_name_the_keys() -> None:
    broken = state()
    del broken["stem.0.weight"]
    broken["stages.0.body.0.weight"] = torch.zeros(1, 2, 3, 3)
    broken["extra.weight"] = torch.zeros(1)
    with pytest.raises(ArtefactError) as caught:
        build_model(BACKBONE, broken, 5, seed=0)
    for part in ("lacks `stem.0.weight`", "`extra.weight`", "(1, 2, 3, 3)"):
        assert part in caught.value.message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["stem.0.weight"].fill_(float("nan")), "not finite"),
        (lambda s: s.update({"stem.0.weight": s["stem.0.weight"].to(torch.int32)}), "as torch.int32"),
    ],
)
def test_values_that_are_no_weights_are_refused(
    change: Callable[[dict[str, torch.Tensor]], object], message: str
) -> None:
    broken = state()
    change(broken)
    with pytest.raises(ArtefactError, match=message):
        build_model(BACKBONE, broken, 5, seed=0)


@pytest.mark.parametrize("content", [{3: torch.zeros(1)}, {"a": torch.zeros(2, 2).to_sparse()}, {"a": 1.0}, [1]])
def test_what_is_no_state_dict_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ArtefactError, match=r"w\.pth"):
        read_weights(BACKBONE, str(tmp_path / "w.pth"))


def test_a_pickle_does_not_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "exploded",)  # type: ignore[return-value]

    torch.save({"weight": Bomb()}, tmp_path / "bomb.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Bomb()))
    for name in ("bomb.pth", "plain.pth"):
        with pytest.raises(ArtefactError, match="plain tensors"):
            read_weights(BACKBONE, str(tmp_path / name))
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_damaged_or_missing_files_are_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArtefactError, match="do not exist"):
        read_weights(BACKBONE, str(tmp_path / name))
    save_file(state(), tmp_path / name)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:5000])
    with pytest.raises(ArtefactError, match=name):
        read_weights(BACKBONE, str(tmp_path / name))


def test_published_weights_come_from_the_cache_and_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with the published name but another content stands in for a broken download."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    mobilenet = get_backbone("mobilenet_v2")
    entry = published_weights(mobilenet, newest=True)
    path = tmp_path / "checkpoints" / entry.url.rsplit("/", 1)[-1]
    path.parent.mkdir()
    torch.save(mobilenet.build(1000).state_dict(), path)
    with pytest.raises(ArtefactError, match="hash"):
        read_weights(mobilenet, "default")


def test_without_network_the_error_says_where_to_put_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    with pytest.raises(DependencyError) as caught:
        read_weights(get_backbone("mobilenet_v2"), "default")
    assert "mobilenet_v2-7ebf99e0.pth" in caught.value.message
    assert str(tmp_path / "checkpoints") in str(caught.value.hint) and "--weights PATH" in str(caught.value.hint)


def test_labels_that_stand_twice_get_their_index() -> None:
    assert distinct(["crane", "bee", "crane"]) == ("crane (0)", "bee", "crane (2)")


def test_a_licence_is_what_the_file_states(tmp_path: Path) -> None:
    for metadata, licence in (
        ({"license": "apache-2.0"}, "apache-2.0"),
        ({"modelspec.license": "MIT"}, "MIT"),
        ({"license": " "}, "unknown"),
        ({"format": "pt"}, "unknown"),
    ):
        save_file(state(), tmp_path / "w.safetensors", metadata=metadata)
        record = read_weights(BACKBONE, str(tmp_path / "w.safetensors")).record
        assert (record.origin, record.licence, record.url) == ("w.safetensors", licence, "")
    torch.save(state(), tmp_path / "w.pth")
    assert read_weights(BACKBONE, str(tmp_path / "w.pth")).record.licence == "unknown"


def test_a_file_is_torchvisions_when_it_has_the_hash_of_torchvisions_file_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry whose name promises this file's hash stands in for a download."""
    mobilenet = get_backbone("mobilenet_v2")
    torch.save(mobilenet.build(1000).state_dict(), tmp_path / "renamed.pth")
    assert read_weights(mobilenet, str(tmp_path / "renamed.pth")).record.licence == "unknown"
    digest = sha256_of(tmp_path / "renamed.pth")
    entry = published_weights(mobilenet, newest=True).value
    named = dataclasses.replace(entry, url=f"https://example.org/mobilenet_v2-{digest[:8]}.pth")
    monkeypatch.setattr("edgetl.finetune.backbones.weights.published_weights", lambda *_, **__: named)
    record = read_weights(mobilenet, str(tmp_path / "renamed.pth")).record
    assert record.url == named.url and "BSD-3-Clause" in record.licence
