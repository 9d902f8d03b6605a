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


# -- datasets -----------------------------------------------------------------------------------

PHOTO = Image.fromarray(np.random.default_rng(1).integers(0, 256, (6, 8, 3), np.uint8))
PIXELS = torch.from_numpy(np.array(PHOTO)).permute(2, 0, 1)


class Items(torch.utils.data.Dataset):
    """A map-style dataset that tells what was read of it."""

    def __init__(self, items, **attributes):
        self.items, self.read = items, []
        vars(self).update(attributes)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, number):
        self.read.append(number)
        return self.items[number]


@pytest.mark.parametrize(
    "items",
    [[PHOTO, PHOTO], [(PHOTO,), (PHOTO,)], [(PHOTO, 3), [PHOTO, torch.tensor(4)]], [PIXELS] * 2],
    ids=["images", "tuples", "classes", "tensors"],
)
def test_dataset_gives_pixels_and_classes(items):
    found = images.from_dataset(Items(items))
    assert all(torch.equal(photo, PIXELS) for photo in found)
    assert found[-1].dtype == torch.uint8
    assert found.names == ("0", "1")
    assert found.labels == ((3, 4) if isinstance(items[1], list) else (-1, -1))
    assert list(found.image_sizes()) == [(6, 8)] * 2
    with pytest.raises(IndexError):
        found[2]


def test_dataset_images_are_fitted_as_files_are(tmp_path):
    PHOTO.save(tmp_path / "a.png")
    (photo,) = images.from_dataset([PHOTO], size=(4, 4))
    assert torch.equal(photo, images.load(tmp_path, size=(4, 4))[0])
    assert images.from_dataset([torch.rand(3, 4, 4)], size=(4, 4))[0].dtype == torch.float32
    with pytest.raises(ValueError, match=r"item 0 .* expected \(4, 4\), got \(6, 8\); tensors are"):
        images.from_dataset([PIXELS], size=(4, 4))[0]


@pytest.mark.parametrize("targets", [[1, 0], torch.tensor([1, 0]), np.array([1, 0])])
def test_targets_are_classes_without_reading_items(targets):
    items = Items([(PHOTO, 5), (PHOTO, 6)], targets=targets)
    assert images.from_dataset(items).labels == (1, 0)
    subset = torch.utils.data.Subset(items, [1, 1, 0])
    assert images.from_dataset(subset).labels == (0, 0, 1)
    items.target_transform = lambda target: target + 5
    assert images.from_dataset(items).labels == (6, 5)
    assert items.read == []


def test_classes_are_read_once_and_only_where_there_are_some():
    items = Items([(PHOTO, 5), (PHOTO, np.int64(6))])
    found = images.from_dataset(items)
    assert items.read == []
    assert found.labels == found.labels == (5, 6)
    assert items.read == [0, 0, 1]
    bare = Items([PHOTO] * 9)
    assert images.from_dataset(bare).labels == (-1,) * 9
    assert bare.read == [0]


def test_identity_of_a_dataset():
    def identity(count=2, label=1, **options):
        return images.from_dataset([(PHOTO, label)] * count, **options).identity()

    assert identity() == identity()
    others = [identity(3), identity(label=2), identity(size=(4, 4)), identity(names=["a", "b"])]
    assert len({identity(), *others}) == 5


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter([PHOTO])


class Broken:
    def __len__(self):
        return 1

    def __getitem__(self, number):
        raise RuntimeError("no disk")


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (Stream(), "expected a dataset with len.* got Stream: .*give a map-style dataset"),
        (iter([PHOTO]), "expected a dataset with len.* got list_iterator"),
        ([], "no images in the dataset"),
        (Broken(), r"item 0 of the dataset cannot be read \(RuntimeError: no disk\)"),
        ([{"image": PHOTO}], "item 0 .*expected a PIL image or a tensor .* got dict"),
        ([torch.zeros(4, 4)], r"item 0 .*expected a PIL image or a tensor .* got \(4, 4\)"),
        ([(PHOTO, 1, 2)], r"item 0 .*expected an image or \(image, class\), got 3 things"),
        ([(PHOTO, "cat")], "item 0 .*expected a class number, got 'cat'"),
        ([(PHOTO, -2)], "item 0 .*expected a class >= -1, got -2"),
        (Items([PHOTO], targets=[1, 2]), "expected 1 targets in the dataset, got 2"),
        (Items([PHOTO], targets=["a"]), "item 0 .*expected a class number, got 'a'"),
        ([Image.new("F", (4, 4))], "cannot read item 0 of the dataset as an image .*floating"),
    ],
)
def test_rejects_bad_datasets(dataset, message):
    def read():
        found = images.from_dataset(dataset)
        return found[0], found.labels

    with pytest.raises(ValueError, match=message):
        read()


@pytest.mark.parametrize("names", [["a"], ["a", "a"]])
def test_rejects_bad_names(names):
    with pytest.raises(ValueError, match="expected 2 distinct names"):
        images.from_dataset([PHOTO, PHOTO], names=names)


def test_dataset_by_the_name_of_its_code(tmp_path, monkeypatch):
    (tmp_path / "mine_of_images.py").write_text(
        "import torch\n"
        "class Two:\n"
        "    def __len__(self): return 2\n"
        "    def __getitem__(self, number): return torch.full((3, 4, 4), number), number\n"
        "two = Two()\n"
        "def make(): return two\n"
        "def fails(): raise OSError('no disk')\n"
        "number = 3\n"
    )
    monkeypatch.chdir(tmp_path)
    for name in ("two", "Two", "make"):
        found = images.load(f"mine_of_images:{name}", size=(4, 4))
        assert (found.labels, len(found), int(found[1].max())) == ((0, 1), 2, 1)
    (tmp_path / "labels.csv").write_text("0,8\n1,9\n")
    assert images.load("mine_of_images:two", labels="labels.csv").labels == (8, 9)
    for source, labels, message in (
        ("mine_of_images:none", None, "cannot find 'none' in module 'mine_of_images'"),
        ("mine_of_no:two", None, "cannot find 'two' in module 'mine_of_no'"),
        ("mine_of_images:fails", None, r"mine_of_images:fails\(\) failed: OSError: no disk"),
        ("mine_of_images:number", None, "expected a dataset with len.* got int"),
        (["mine_of_images:two", "a.png"], None, "expected a dataset by itself, got mine_of_im"),
        ("mine_of_images:two", "folders", "expected files for labels by folders, got a dataset"),
        ("demo:cats", None, "unknown images 'demo:cats'; expected demo:photographs"),
    ):
        with pytest.raises(ValueError, match=message):
            images.load(source, labels=labels)
