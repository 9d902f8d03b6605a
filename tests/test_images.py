"""Photographs from files: found, decoded, fitted, labelled."""

import numpy as np
import pytest
import torch
from PIL import Image
from shiftable import images


def save(path, size=(6, 4), colour=(10, 20, 30), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, **options)
    return path


def test_folder_is_searched_to_any_depth_in_order(tmp_path):
    for name in ("b.png", "a/x.jpg", "a/deep/y.PNG"):
        save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not an image")
    found = images.load(tmp_path)
    assert found.names == ("a/deep/y.PNG", "a/x.jpg", "b.png")
    assert found.labels == (-1, -1, -1)


def test_pixels_are_the_files_own(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (photo,) = images.load(tmp_path)
    assert photo.dtype == torch.uint8
    assert torch.equal(photo, torch.from_numpy(pixels).permute(2, 0, 1))


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA", "CMYK", "1"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    suffix = "tif" if mode == "CMYK" else "png"
    Image.new("RGB", (4, 4), (255, 255, 255)).convert(mode).save(tmp_path / f"a.{suffix}")
    photo = images.load(tmp_path)[0]
    assert photo.shape == (3, 4, 4)
    assert (photo == 255).all()


def test_sixteen_bits_become_eight(tmp_path):
    values = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(values).save(tmp_path / "a.png")
    photo = images.load(tmp_path)[0]
    np.testing.assert_allclose(photo[0].numpy(), values / 257, atol=0.51)


@pytest.mark.parametrize(
    ("photo", "options", "message"),
    [
        (Image.new("RGBA", (4, 4), (1, 2, 3, 100)), {}, "transparent in part"),
        (Image.fromarray(np.full((4, 4), 0.5, np.float32)), {}, "floating numbers"),
        (
            Image.new("RGB", (4, 4)),
            {"save_all": True, "append_images": [Image.new("RGB", (4, 4), "red")]},
            "several frames",
        ),
    ],
    ids=["alpha", "float", "frames"],
)
def test_pictures_that_are_not_one_are_refused(tmp_path, photo, options, message):
    photo.save(tmp_path / "a.tiff", **options)
    with pytest.raises(ValueError, match=message):
        images.load(tmp_path)[0]


def test_a_pattern_is_of_the_files_name(tmp_path):
    (tmp_path / "set_1").mkdir()
    save(tmp_path / "set_1" / "img_4.png")
    assert images.load(tmp_path, labels=r"pattern:_(\d+)").labels == (4,)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("\ufeffa.png,3\n", (3,)),
        ("name,class\na.png,-1\n", (-1,)),
        ("a.png,3\na.png,4\n", "two classes for 'a.png', 3 and 4"),
        ("a.png,three\n", "expected 'name,class', got 'a.png,three'"),
    ],
)
def test_labels_by_csv(tmp_path, text, labels):
    save(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    table = str(tmp_path / "labels.csv")
    if isinstance(labels, tuple):
        assert images.load(tmp_path / "a.png", labels=table).labels == labels
    else:
        with pytest.raises(ValueError, match=labels):
            images.load(tmp_path / "a.png", labels=table)


def test_camera_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    save(tmp_path / "a.jpg", size=(8, 4), exif=exif)
    assert images.load(tmp_path)[0].shape == (3, 8, 4)


def test_fit_takes_the_largest_centred_part(tmp_path):
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 255  # the centred square is white, what is cut off is black
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (photo,) = images.load(tmp_path, size=(5, 5))
    assert photo.shape == (3, 5, 5)
    assert (photo[:, :, 1:4] == 255).all()
    assert (photo > 220).all()  # the filter reads a little past the cut


def test_sizes_by_protocol():
    assert images.size_for("crop", (224, 224)) == (256, 256)
    assert images.size_for("embed", (224, 256)) == (168, 192)
    assert images.size_for("circular", (224, 224)) == (224, 224)
    assert images.size_for("shift", (224, 224)) == (224, 224)


def test_labels_from_csv(tmp_path):
    save(tmp_path / "photos/a.png")
    save(tmp_path / "photos/b.png")
    table = tmp_path / "labels.csv"
    table.write_text("name,class\na.png,7\nb.png, 3\nother.png,1\n")
    assert images.load(tmp_path / "photos", labels=str(table)).labels == (7, 3)


def test_labels_from_folders(tmp_path):
    for name in ("cat/a.png", "cat/b.png", "ant/c.png"):
        save(tmp_path / "named" / name)
    for name in ("12/a.png", "3/b.png"):
        save(tmp_path / "numbered" / name)
    assert images.load(tmp_path / "named", labels="folders").labels == (0, 1, 1)
    assert images.load(tmp_path / "numbered", labels="folders").labels == (12, 3)


def test_labels_from_file_names(tmp_path):
    save(tmp_path / "x_00_7.png")
    save(tmp_path / "x_01_12.png")
    assert images.load(tmp_path, labels=r"pattern:_(\d+)\.").labels == (7, 12)


def test_same_names_in_two_folders_stay_apart(tmp_path):
    paths = [save(tmp_path / folder / "a.png") for folder in ("one", "two")]
    assert len(set(images.load(paths).names)) == 2
    assert len(images.load([paths[0], paths[0]])) == 1


def test_demo_photographs():
    found = images.load("demo:photographs", size=(32, 32))
    assert len(found) == 20
    assert found[5].shape == (3, 32, 32)
    assert all(0 <= label < 1000 for label in found.labels)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("nowhere.csv", "no labels at nowhere.csv"),
        (r"pattern:(\d+", "expected a regular expression"),
        (r"pattern:\d+", "expected a group"),
        (r"pattern:(\d+)-", "no class number in 'a.png'"),
    ],
)
def test_rejects_bad_labels(tmp_path, labels, message):
    save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=message):
        images.load(tmp_path, labels=labels)


@pytest.mark.parametrize(
    ("text", "message"),
    [("b.png,1\n", "no class for 1 image"), ("a.png,1\nb.png,x\n", "expected 'name,class'")],
)
def test_rejects_bad_tables(tmp_path, text, message):
    save(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        images.load(tmp_path, labels=str(tmp_path / "labels.csv"))


def test_rejects_what_is_no_image(tmp_path):
    with pytest.raises(ValueError, match="no images in"):
        images.load(tmp_path)
    with pytest.raises(ValueError, match="no image or folder at"):
        images.load(tmp_path / "nowhere")
    whole = save(tmp_path / "a.png", size=(64, 64)).read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cannot read .*a.png as an image"):
        images.load(tmp_path)[0]
