"""Image files in lists and tar shards, and what is told of them without decoding."""

import gzip
import io
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from shiftable import images

RANDOM = np.random.default_rng(0)


def encoded(kind="png", size=(7, 5), **options):
    """The bytes of an image of noise, (W, H)."""
    buffer = io.BytesIO()
    pixels = RANDOM.integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def save(path, data=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded() if data is None else data)
    return path


def shard(path, members, **options):
    """A tar file of (name, bytes)."""
    with tarfile.open(path, "w", **options) as file:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


# -- lists --------------------------------------------------------------------------------------


def test_list_keeps_its_order_and_names(tmp_path):
    for name in ("a.png", "deep/b.png", "c.png"):
        save(tmp_path / "set" / name)
    listed = write(
        tmp_path / "set" / "photos.txt",
        f"\ufeff# mine\n\ndeep/b.png\r\n  a.png  \n{tmp_path}/set/c.png\n",
    )
    found = images.load(listed)
    assert found.names == ("deep/b.png", "a.png", f"{tmp_path}/set/c.png")
    assert found.labels == (-1, -1, -1)
    assert torch.equal(found[0], images.load(tmp_path / "set" / "deep")[0])


@pytest.mark.parametrize("between", ["\t", ",", " ", ", ", "  "])
def test_list_has_classes(tmp_path, between):
    save(tmp_path / "a.png")
    save(tmp_path / "my cat.png")
    listed = write(tmp_path / "photos.lst", f"my cat.png{between}12\na.png{between}-1\n")
    found = images.load(listed)
    assert (found.names, found.labels) == (("my cat.png", "a.png"), (12, -1))
    table = write(tmp_path / "labels.csv", "a.png,3\nmy cat.png,4\n")
    assert images.load(listed, labels=str(table)).labels == (4, 3)


def test_a_path_may_end_in_a_number(tmp_path):
    listed = tmp_path / "photos.txt"
    save(tmp_path / "shot 7")
    write(listed, "shot 7\n")
    assert images.load(listed).names == ("shot 7",)
    write(listed, "shot 7 3\n")
    assert (images.load(listed).names, images.load(listed).labels) == (("shot 7",), (3,))
    save(tmp_path / "shot")
    write(listed, "shot 7\n")  # both are there: the number is a class
    assert (images.load(listed).names, images.load(listed).labels) == (("shot",), (7,))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.png\n\nno.png 4\n", r"photos.txt, line 3: no file at .*no.png; expected a path"),
        ("a.png -2\n", r"photos.txt, line 1: no file at .*a.png -2; .* class number >= -1"),
        ("a.png 1\n# again\n./a.png 1\n", r"line 3: './a.png' is in line 1 already"),
        ("a.png 1\nb.png\n", "line 2: 'b.png' has no class, unlike the lines before"),
        ("a.png\nb.png 1\n", "line 2: 'b.png' has a class, unlike the lines before"),
        ("# nothing\n", "no images in .*photos.txt"),
    ],
)
def test_rejects_bad_lists(tmp_path, text, message):
    save(tmp_path / "a.png")
    save(tmp_path / "b.png")
    with pytest.raises(ValueError, match=message):
        images.load(write(tmp_path / "photos.txt", text))


def test_rejects_a_list_in_another_encoding(tmp_path):
    (tmp_path / "photos.txt").write_bytes(b"\xe9.png\n")
    with pytest.raises(ValueError, match=r"cannot read .*photos.txt as a list of paths in UTF-8"):
        images.load(tmp_path / "photos.txt")


def test_several_sources_give_a_file_once(tmp_path):
    path = save(tmp_path / "a.png")
    listed = write(tmp_path / "photos.txt", "a.png\n")
    assert images.load([tmp_path, listed, path]).names == ("a.png",)
    write(listed, "a.png 3\n")
    with pytest.raises(ValueError, match=r"two classes for '.*a.png', -1 and 3, by two sources"):
        images.load([path, listed])


# -- tar shards ---------------------------------------------------------------------------------


def test_shard_has_names_classes_and_the_files_pixels(tmp_path):
    data = {name: encoded() for name in ("b", "a", "in/c.x")}
    members = [
        ("./b.png", data["b"]),
        ("./b.cls", b"3"),
        ("./a.cls", b" -1\n"),
        ("./a.json", b"{}"),
        ("./a.mask.png", encoded()),
        ("./a.PNG", data["a"]),
        ("README", b"of no sample"),
        (".hidden.png", b"of none either"),
        ("./in/c.x.png", data["in/c.x"]),
    ]
    found = images.load(shard(tmp_path / "s.tar", members))
    assert found.names == ("s.tar/b.png", "s.tar/a.PNG", "s.tar/in/c.x.png")
    assert found.labels == (3, -1, -1)
    for photo, image in zip(found, data.values(), strict=True):
        assert torch.equal(photo, images.load(save(tmp_path / "plain.png", image))[0])


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("bmp", {}),
        ("jpeg", {"quality": 90}),
        ("png", {}),
        ("ppm", {}),
        ("tiff", {}),
        ("tiff", {"compression": "tiff_lzw"}),
        ("webp", {"lossless": True}),
    ],
)
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_member_reads_as_the_plain_file(tmp_path, kind, options, form):
    data = encoded(kind, (90, 70), **options)
    long = "x" * 90 + "/" + "y" * 60  # the header takes several blocks in some formats
    members = [(f"{long}1.{kind}", encoded(kind)), (f"{long}2.{kind}", data)]
    found = images.load(shard(tmp_path / "s.tar", members, format=form))
    plain = images.load(save(tmp_path / f"a.{kind}", data))
    assert torch.equal(found[1], plain[0])
    assert list(found.image_sizes()) == [(5, 7), (70, 90)]


def test_several_shards_and_folders_of_shards(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    two = shard(folder / "2.tar", [("a.png", encoded())])
    one = shard(folder / "1.tar", [("a.png", encoded()), ("b.png", encoded())])
    assert images.load([two, one]).names == ("2.tar/a.png", "1.tar/a.png", "1.tar/b.png")
    assert images.load(folder).names == ("1.tar/a.png", "1.tar/b.png", "2.tar/a.png")
    save(folder / "c.png")
    assert images.load(folder).names == ("c.png",)


def test_labels_of_shards(tmp_path):
    path = shard(tmp_path / "s.tar", [("7/x_1.png", encoded()), ("12/x_2.png", encoded())])
    assert images.load(path, labels="folders").labels == (7, 12)
    assert images.load(path, labels=r"pattern:_(\d+)").labels == (1, 2)
    table = write(tmp_path / "t.csv", "s.tar/7/x_1.png,5\ns.tar/12/x_2.png,6\n")
    assert images.load(path, labels=str(table)).labels == (5, 6)
    with pytest.raises(ValueError, match=r"no folder around .*s.tar/a.png"):
        images.load(shard(tmp_path / "s.tar", [("a.png", encoded())]), labels="folders")


def test_eight_threads_read_a_shard(tmp_path):
    data = [encoded(size=(64, 48)) for _ in range(24)]
    members = [(f"{number:02}.png", image) for number, image in enumerate(data)]
    found = images.load(shard(tmp_path / "s.tar", members))
    alone = list(found)
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda number: found[number % 24], range(8 * 24)))
    assert all(torch.equal(photo, alone[n % 24]) for n, photo in enumerate(together))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("a.cls", b"3")], r"s.tar, sample 'a': expected one image .*, got 0 \(a.cls\)"),
        ([("x/a.png", b""), ("x/a.jpg", b"")], r"sample 'x/a': .* got 2 \(x/a.png, x/a.jpg\)"),
        ([("a.png", b""), ("b.png", b""), ("a.png", b"")], r"sample 'a': .* got 2"),
        ([("a.png", b""), ("a.cls", b"cat")], "sample 'a': expected one class .* got 'cat'"),
        ([("a.png", b""), ("a.cls", b"-2")], "sample 'a': expected one class .* got '-2'"),
        ([("a.png", b""), ("a.cls", b"2"), ("a.cls", b"2")], "expected one class .* got '2, 2'"),
        ([("README", b"")], "no images in .*s.tar"),
        ([], "no images in .*s.tar"),
    ],
)
def test_rejects_bad_samples(tmp_path, members, message):
    with pytest.raises(ValueError, match=message):
        images.load(shard(tmp_path / "s.tar", members))


def test_rejects_links(tmp_path):
    path = shard(tmp_path / "s.tar", [("a.png", encoded())])
    with tarfile.open(path, "a") as file:
        link = tarfile.TarInfo("b.png")
        link.type, link.linkname = tarfile.LNKTYPE, "a.png"
        file.addfile(link)
    with pytest.raises(ValueError, match=r"sample 'b': expected b.png to be a plain file"):
        images.load(path)


@pytest.mark.parametrize("name", ["s.tar.gz", "s.tgz", "s.tar"])
def test_rejects_compressed_shards(tmp_path, name):
    plain = shard(tmp_path / "plain.tar", [("a.png", encoded())])
    save(tmp_path / name, gzip.compress(plain.read_bytes()))
    with pytest.raises(ValueError, match=r"is compressed, so its images cannot be read one by one"):
        images.load(tmp_path / name)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: 512 + 100],  # within an image
        lambda data: data[:1024],  # before a header
        lambda data: data[: 1024 + 200],  # within a header
        lambda data: data[:2048],  # before the end's mark
        lambda data: data[:1024] + b"\xff" * 512 + data[1536:],  # a header overwritten
        lambda data: data + data,  # a second archive, of which a reader would know nothing
        lambda data: b"no tar at all" * 100,
        lambda data: b"",
    ],
)
def test_rejects_damaged_shards(tmp_path, damage):
    small = encoded()[:400].ljust(400, b"\0")  # a block of header, a block of data
    whole = shard(tmp_path / "s.tar", [("a.png", small), ("b.png", small)])
    assert len(images.load(whole)) == 2
    whole.write_bytes(damage(whole.read_bytes()))
    with pytest.raises(ValueError, match=r"cannot read .*s.tar as a tar file") as told:
        images.load(whole)
    assert "\n" not in str(told.value)


# -- without decoding ---------------------------------------------------------------------------


def test_sizes_by_header_are_those_of_the_images(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6
    for kind in ("bmp", "jpeg", "png", "ppm", "tiff", "webp"):
        save(tmp_path / f"plain.{kind}", encoded(kind, (9, 4)))
        save(tmp_path / f"turned.{kind}", encoded(kind, (9, 4), exif=turned))
    # PNG has its EXIF before the pixels, or after them
    plain, late = (tmp_path / f"{name}.png" for name in ("plain", "late"))
    data, chunk = plain.read_bytes(), (tmp_path / "turned.png").read_bytes()
    place = chunk.index(b"eXIf") - 4
    length = int.from_bytes(chunk[place : place + 4], "big") + 12
    late.write_bytes(data[:-12] + chunk[place : place + length] + data[-12:])
    found = images.load(tmp_path)
    sizes = dict(zip(found.names, found.image_sizes(), strict=True))
    assert sizes == {n: tuple(p.shape[1:]) for n, p in zip(found.names, found, strict=True)}
    assert (sizes["plain.png"], sizes["late.png"], sizes["turned.tiff"]) == ((4, 9), (9, 4), (9, 4))
    fitted = images.load(tmp_path, size=(3, 2))
    assert list(fitted.image_sizes()) == [(3, 2)] * len(found)


def test_sizes_decode_nothing(tmp_path):
    save(tmp_path / "a.png", encoded("png", (64, 64))[:200])
    save(tmp_path / "b.jpg", encoded("jpeg", (64, 64))[:900])
    shard(tmp_path / "s.tar", [("c.png", encoded("png", (64, 64))[:200])])
    found = images.load([tmp_path, tmp_path / "s.tar"])
    assert list(found.image_sizes()) == [(64, 64)] * 3
    for number in range(3):  # the pixels are not all there
        with pytest.raises(ValueError, match=r"cannot read .* as an image .*mend it or take it"):
            found[number]


def test_sizes_find_what_is_no_image(tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / "b.png", b"no image")
    for found in (images.load(tmp_path, size=(4, 4)), images.load(tmp_path)):
        with pytest.raises(ValueError, match=r"cannot read .*b.png as an image \(of no known form"):
            list(found.image_sizes())
    frames = {"save_all": True, "append_images": [Image.new("RGB", (4, 4), "red")]}
    Image.new("RGB", (4, 4)).save(tmp_path / "b.png", **frames)
    with pytest.raises(ValueError, match=r"b.png as an image \(it has several frames"):
        list(images.load(tmp_path).image_sizes())


def test_identity_changes_with_what_is_seen_and_only_then(tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / "b.png")
    listed = write(tmp_path / "photos.txt", "a.png 1\nb.png 2\n")
    first = images.load(listed).identity()
    assert len(first) == 64
    write(listed, "# another comment\na.png, 1\nb.png, 2\n")
    (tmp_path / "a.png").touch()
    assert images.load(listed).identity() == first
    table = write(tmp_path / "labels.csv", "a.png,1\nb.png,2\n")
    assert images.load(tmp_path, labels=str(table)).identity() == first
    others = [images.load(listed, size=(4, 5)), images.load(listed, size=(5, 4))]
    for text in ("a.png 1\nb.png 3\n", "b.png 2\na.png 1\n", "a.png 1\n"):
        others.append(images.load(write(listed, text)))
    identities = [first, *(other.identity() for other in others)]
    write(listed, "a.png 1\nb.png 2\n")
    save(tmp_path / "a.png", encoded(size=(20, 20)))
    identities.append(images.load(listed).identity())
    assert len(set(identities)) == len(identities)


def test_identity_of_a_shard_does_not_depend_on_where_it_lies(tmp_path):
    members = [("a.png", encoded()), ("a.cls", b"1")]
    (tmp_path / "other").mkdir()
    paths = [shard(folder / "s.tar", members) for folder in (tmp_path, tmp_path / "other")]
    one, two = (images.load(path).identity() for path in paths)
    assert one == two
    shard(paths[1], [members[0], ("a.cls", b"2")])
    assert images.load(paths[1]).identity() != one


def test_demo_is_told_without_decoding():
    found = images.load("demo:photographs")
    assert list(found.image_sizes()) == [tuple(photo.shape[1:]) for photo in found]
    assert Path(str(found.files[0])).is_file()
