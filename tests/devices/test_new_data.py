"""`check` with images the export did not see: more labels, a stream of them, and images without labels."""

import csv
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.conftest import Cli, write_dataset

from edgetl.bundle import open_bundle
from edgetl.devices.answers import Answers, no_answers
from edgetl.devices.drop import Evidence
from edgetl.devices.evidence import Trial, decides
from edgetl.devices.examine import Golden
from edgetl.devices.profile import Accuracy, Profile
from edgetl.export.planted.planting import rehash
from edgetl.manifest import Manifest

INT8 = "onnxruntime-int8"


@pytest.fixture(scope="module")
def more(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty new images of the three classes."""
    return write_dataset(tmp_path_factory.mktemp("more"), {"": 20}, seed=7)


def judged(cli: Cli, *arguments: object) -> dict[str, Any]:
    done = cli("check", *arguments, "--variants", INT8, "--json")
    assert done.exit_code == 0, done.output
    variant: dict[str, Any] = json.loads(done.stdout)["variants"][0]
    return variant


def task(variant: dict[str, Any]) -> str:
    return str(next(reason["text"] for reason in variant["reasons"] if reason["layer"] == "task"))


def test_labelled_images_are_added_to_what_the_export_recorded(cli: Cli, bundle: Path, more: Path) -> None:
    alone, together = judged(cli, bundle), judged(cli, bundle, "--data", more)
    assert "90 samples" in task(alone) and "60 new samples" in task(together) and "150 samples" in task(together)
    assert together["drop_points"]["high"] < alone["drop_points"]["high"], "more samples prove more"


def test_images_the_export_knew_count_once(cli: Cli, bundle: Path, dataset: Path) -> None:
    known = judged(cli, bundle, "--data", dataset / "val")
    assert "0 new samples, 90 were known" in task(known) and "90 samples" in task(known)


def test_a_csv_may_name_groups_and_a_damaged_one_is_named(cli: Cli, bundle: Path, more: Path, tmp_path: Path) -> None:
    listing = tmp_path / "more.csv"
    with listing.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "label", "group"])
        for image in sorted(more.rglob("*.png")):
            writer.writerow([image, image.parent.name, "night" if image.name < "05" else "day"])
    assert "60 new samples" in task(judged(cli, bundle, "--data", listing))
    listing.write_text("file,label\na.png,moss\n")
    refused = cli("check", bundle, "--data", listing)
    assert refused.exit_code == 5 and "`path` and `label`" in refused.stderr


def test_golden_images_that_come_again_count_once(cli: Cli, own_bundle: Path, dataset: Path) -> None:
    """On a device that does not reproduce the export's answers, which judges itself on the golden set."""
    own = own_bundle / INT8 / "golden.npz"
    with np.load(own) as arrays:
        logits = arrays["logits"]
    np.savez(own, logits=logits * 1.05)

    def elsewhere(manifest: Manifest) -> Manifest:
        return msgspec.structs.replace(manifest, machine=None)

    rehash(own_bundle, elsewhere)
    text = task(judged(cli, own_bundle, "--data", dataset / "val"))
    assert "judged on the golden set" in text and "0 new samples, 90 were known" in text


def test_a_stream_says_what_it_took(cli: Cli, bundle: Path, more: Path) -> None:
    streamed = judged(cli, bundle, "--data", more, "--sequential")
    fixed = judged(cli, bundle, "--data", more)
    assert streamed["drop_points"]["high"] > fixed["drop_points"]["high"], "looking all along has its price"


def test_unlabelled_images_bound_the_drop(cli: Cli, bundle: Path, more: Path) -> None:
    text = task(judged(cli, bundle, "--unlabelled", more))
    assert "of 60 unlabelled answers differ" in text and "hides at most" in text


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--sequential",), 2, "needs `--data`"),
        (("--data", "/nowhere"), 5, "does not exist"),
        (("--unlabelled", "/nowhere"), 5, "does not exist"),
        (("--device", "MACRO", "--unlabelled", "DATA"), 2, "decides top1"),
    ],
)
def test_mistakes_are_named(
    cli: Cli, bundle: Path, more: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    profile = tmp_path / "macro.toml"
    profile.write_text('name = "m"\ntitle = "m"\n[accuracy]\nmetric = "macro_f1"\n[[engines]]\nname = "onnxruntime"\n')
    places = {"MACRO": profile, "DATA": more}
    done = cli("check", bundle, *(places.get(argument, argument) for argument in arguments))
    assert done.exit_code == code and words in done.stderr


def test_a_folder_of_splits_is_refused_with_the_split_to_name(cli: Cli, bundle: Path, dataset: Path) -> None:
    done = cli("check", bundle, "--data", dataset)
    assert done.exit_code == 5 and "name one split" in done.stderr


def test_a_label_the_model_does_not_have_is_named(cli: Cli, bundle: Path, tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "strange", {"": 1})
    (folder / "moss").rename(folder / "mos")
    done = cli("check", bundle, "--data", folder)
    assert done.exit_code == 5 and "did you mean `moss`" in done.stderr


def stream(lost: int, samples: int) -> Answers:
    """Digests from 1000 on, so none is known yet."""
    truths = np.zeros(samples, int)
    variant = np.where(np.arange(samples) < lost, 1, truths)
    return Answers(
        samples=np.arange(1000, 1000 + samples, dtype=np.uint64), truths=truths, reference=truths, variant=variant
    )


def decided(
    bundle: Path, answers: Answers, *, looks: int = 1, questions: int = 1, accuracy: Accuracy | None = None
) -> bool:
    profile = Profile(name="p", title="p", accuracy=accuracy or Accuracy())
    golden = Golden(arrays={}, input=None)
    trial = Trial(bundle=open_bundle(bundle), profile=profile, golden=golden, stand_ins=(), questions=questions)
    return decides({"v": Evidence(answers=no_answers(), looks=looks)}, trial, unlabelled=False)("v", answers)


def test_a_stream_does_not_stop_before_its_verdict_stands(bundle: Path) -> None:
    """Candidates share a pass, and every question of the check its failures."""
    assert decided(bundle, stream(0, 420)) and not decided(bundle, stream(0, 420), looks=3)
    assert decided(bundle, stream(0, 600), looks=3), "about 60-fold wealth"
    few = next(lost for lost in range(1, 50) if decided(bundle, stream(lost, 50)))
    assert not decided(bundle, stream(few, 50), questions=100) and decided(bundle, stream(40, 50), questions=100)


def test_a_stream_goes_on_while_a_class_is_open(bundle: Path) -> None:
    """Of the three labels one is in every sample, then each in a third."""
    bound = Accuracy(max_class_drop_points=5)
    one, third = stream(0, 600), np.arange(600) % 3
    each = msgspec.structs.replace(one, truths=third, reference=third, variant=third)
    assert decided(bundle, one) and not decided(bundle, one, accuracy=bound)
    assert decided(bundle, each, accuracy=bound)
    lost = np.where(third == 0, 1, third)
    hurt = Accuracy(max_drop_points=50, max_class_drop_points=5)
    assert decided(bundle, msgspec.structs.replace(each, variant=lost), accuracy=hurt), "a class that fails decides"


def test_images_that_decide_nothing_are_not_asked(cli: Cli, bundle: Path, tmp_path: Path) -> None:
    """An fp32 variant that answers as torch does is in no question: not even a damaged image is opened."""
    (tmp_path / "a.png").write_bytes(b"no image")
    done = cli("check", bundle, "--unlabelled", tmp_path, "--variants", "onnxruntime-fp32")
    assert done.exit_code == 0, done.output
