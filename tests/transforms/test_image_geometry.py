import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.photographs import cut

from forebay import transforms as T
from forebay.formats.errors import BadRows, SchemaError, SpecError
from forebay.transforms import catalog
from forebay.transforms.fuse_image import fuse
from forebay.transforms.image_form import ImageForm
from forebay.transforms.image_random_crop import resized_crops
from forebay.transforms.transform import Rows


def decoded(images):
    """(H, W, C) images as a batch of decoded rows."""
    channels = images[0].shape[2]
    field = ImageForm(channels).field("image")
    rows = [
        {
            "pixels": one.transpose(2, 0, 1).tobytes(),
            "height": one.shape[0],
            "width": one.shape[1],
            "channels": channels,
        }
        for one in images
    ]
    return pa.record_batch([pa.array(rows, field.type)], schema=pa.schema([field]))


def run(chain, images, ids=None):
    batch = decoded(images)
    rows = Rows(np.arange(len(images), dtype=np.uint64) if ids is None else ids)
    column = fuse(chain, batch.schema, [None] * len(chain), range(len(chain))).run(batch, rows)["image"]
    if isinstance(column, pa.FixedShapeTensorArray):
        return list(column.to_numpy_ndarray().transpose(0, 2, 3, 1))
    shapes = [(one["channels"], one["height"], one["width"]) for one in column.to_pylist()]
    return [
        np.frombuffer(one["pixels"], np.uint8).reshape(shape).transpose(1, 2, 0)
        for one, shape in zip(column.to_pylist(), shapes, strict=True)
    ]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 80), st.integers(1, 80), st.integers(1, 60))
def test_the_shorter_side_becomes_the_size(height, width, size):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    (found,) = run([T.Resize(size)], [image])
    long = max(int(size * max(height, width) / min(height, width)), 1)
    assert found.shape[:2] == ((size, long) if height <= width else (long, size))
    expected = np.asarray(Image.fromarray(image).resize(found.shape[1::-1], Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(found - expected).max() <= 1


def test_without_antialias_it_weighs_the_four_nearest_as_torch_does():
    torch = pytest.importorskip("torch")
    image = cut(0, 200, 150)
    (found,) = run([T.Resize((70, 60), antialias=False)], [image])
    planes = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    expected = torch.nn.functional.interpolate(planes, (70, 60), mode="bilinear", align_corners=False, antialias=False)
    assert np.abs(found - expected[0].permute(1, 2, 0).numpy()).max() <= 0.51


def test_center_crop_is_torchvisions():
    image = cut(0, 41, 50)
    (found,) = run([T.CenterCrop((20, 25))], [image])
    top, left = round((41 - 20) / 2), round((50 - 25) / 2)
    assert np.array_equal(found, image[top : top + 20, left : left + 25])


def test_flips_and_their_probability():
    images = [cut(at, 9, 12) for at in range(200)]
    for flip, axis in ((T.HorizontalFlip, 1), (T.VerticalFlip, 0)):
        assert all(np.array_equal(a, np.flip(b, axis)) for a, b in zip(run([flip(1.0)], images), images, strict=True))
        assert all(np.array_equal(a, b) for a, b in zip(run([flip(0.0)], images), images, strict=True))
        half = sum(np.array_equal(a, np.flip(b, axis)) for a, b in zip(run([flip()], images), images, strict=True))
        assert 70 < half < 130


def test_random_crop_reaches_every_place_and_pads():
    image = np.arange(25, dtype=np.uint8).reshape(5, 5, 1)
    found = run([T.RandomCrop(4, padding=1, fill=99)], [image] * 600)
    padded = np.pad(image[:, :, 0], 1, constant_values=99)
    places = {(y, x): padded[y : y + 4, x : x + 4].tobytes() for y in range(4) for x in range(4)}
    seen = {one[:, :, 0].tobytes() for one in found}
    assert seen == set(places.values())


def test_an_image_smaller_than_the_crop_is_a_bad_row():
    images = [cut(0, 30, 30), cut(0, 19, 40), cut(0, 20, 20)]
    for crop in (T.CenterCrop(20), T.RandomCrop(20)):
        with pytest.raises(BadRows, match=r"smaller than the crop of 20x20 \(put Resize before\)") as caught:
            run([crop], images)
        assert caught.value.rows == [1]


def documented_crop(height, width, rng, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3)):
    """torchvision's RandomResizedCrop.get_params, from its documentation."""
    for _ in range(10):
        area = height * width * rng.uniform(*scale)
        aspect = np.exp(rng.uniform(np.log(ratio[0]), np.log(ratio[1])))
        w, h = round(np.sqrt(area * aspect)), round(np.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return rng.integers(0, height - h + 1), rng.integers(0, width - w + 1), h, w
    if width / height < ratio[0]:
        w, h = width, round(width / ratio[0])
    elif width / height > ratio[1]:
        w, h = round(height * ratio[1]), height
    else:
        w, h = width, height
    return (height - h) // 2, (width - w) // 2, h, w


@pytest.mark.parametrize("height, width", [(375, 500), (500, 333), (40, 400), (7, 5)])
def test_crops_are_distributed_as_torchvisions(height, width):
    n = 20_000
    rng = np.random.default_rng(5)
    found = np.stack(resized_crops(np.tile([[height, width]], (n, 1)), rng.random((n, 22))), 1)
    expected = np.array([documented_crop(height, width, rng) for _ in range(n)])
    assert (
        (found[:, :2] >= 0).all() and (found[:, :2] + found[:, 2:] <= [height, width]).all() and found[:, 2:].min() > 0
    )
    for one, other in zip(found.T, expected.T, strict=True):
        values = np.union1d(one, other)
        steps = [np.searchsorted(np.sort(x), values, side="right") / n for x in (one, other)]
        assert np.abs(steps[0] - steps[1]).max() < 2.28 * np.sqrt(2 / n)  # Kolmogorov-Smirnov, p = 0.001 over all 16


def test_a_crop_that_never_fits_is_the_middle_with_the_nearest_ratio():
    drawn = np.full((3, 22), 0.999)
    crops = np.stack(resized_crops(np.array([[10, 1000], [1000, 10], [1, 1]]), drawn), 1)
    assert crops.tolist() == [[0, 493, 10, 13], [493, 0, 13, 10], [0, 0, 1, 1]]


def test_one_pixel_images_pass_every_transform():
    chain = [
        T.RandomResizedCrop(4),
        T.ColorJitter(0.4, contrast=0.4, saturation=0.4, hue=0.2),
        T.GaussianBlur(5),
        T.RandomRotation(10, interpolation="bilinear"),
        T.RandomErasing(1.0),
        T.RandAugment(),
        T.RandomGrayscale(),
    ]
    for channels in (1, 3):
        pixel = np.full((1, 1, channels), 200, np.uint8)
        assert [one.shape for one in run(chain, [pixel, pixel])] == [(4, 4, channels)] * 2
        assert [one.shape for one in run(chain[1:], [pixel])] == [(1, 1, channels)]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: T.Resize(0), r"Resize: size is 0; expected pixels, 1 or more, or \(height, width\)"),
        (lambda: T.Resize((4, -1)), "Resize: size is"),
        (
            lambda: T.Resize(8, interpolation="area"),
            "interpolation is 'area' with antialias=True; expected 'bilinear', or",
        ),
        (
            lambda: T.Resize(8, interpolation="bicubic", antialias=False),
            "interpolation is 'bicubic' with antialias=False",
        ),
        (lambda: T.CenterCrop("big"), "CenterCrop: size is 'big'"),
        (lambda: T.RandomCrop(8, padding=-1), "RandomCrop: padding is -1; expected pixels, 0 or more"),
        (lambda: T.RandomCrop(8, fill=300), "RandomCrop: fill is 300; expected a grey level, 0 to 255"),
        (
            lambda: T.RandomResizedCrop(8, scale=(0, 1)),
            r"scale is \(0, 1\); expected \(least, greatest\), both above 0",
        ),
        (lambda: T.RandomResizedCrop(8, ratio=2), "ratio is 2"),
        (lambda: T.HorizontalFlip(1.5), "HorizontalFlip: p is 1.5; expected a probability, 0 to 1"),
        (lambda: T.NormalizeImage(dtype="int8"), "dtype is 'int8'; expected one of uint8, float16, float32, bfloat16"),
        (lambda: T.NormalizeImage(layout="NHWC"), "layout is 'NHWC'; expected 'CHW' or 'HWC'"),
        (lambda: T.NormalizeImage((0.5,)), "one of mean and std is given; expected both or neither"),
        (lambda: T.NormalizeImage((0.5,), (0,)), "expected 1 or 3 numbers each, std above 0"),
        (lambda: T.NormalizeImage((0.5,), (0.2,), dtype="uint8"), "leaves pixels as they are; leave mean and std out"),
        (lambda: T.ColorJitter(-1), "brightness is -1; expected a number, 0 or more, or a pair"),
        (lambda: T.ColorJitter(hue=0.7), "hue draws from -0.7 to 0.7; expected -0.5 to 0.5"),
        (lambda: T.GaussianBlur(4), "kernel_size is 4; expected an odd number of pixels"),
        (lambda: T.GaussianBlur(3, (0, 1)), r"sigma is \(0, 1\); expected \(least, greatest\), both above 0"),
        (lambda: T.RandomErasing(value=-3), "value is -3; expected one grey level, 0 to 255, or three"),
        (lambda: T.RandomErasing(scale=3), "scale is 3; expected"),
        (
            lambda: T.RandomRotation((5, 2)),
            r"degrees is \(5, 2\); expected a number, 0 or more, or \(least, greatest\)",
        ),
        (
            lambda: T.RandomRotation(5, interpolation="cubic"),
            "interpolation is 'cubic'; expected 'nearest' or 'bilinear'",
        ),
        (lambda: T.RandAugment(0), "num_ops is 0; expected 1 or more"),
        (lambda: T.RandAugment(magnitude=31), "magnitude is 31 of 31 bins"),
        (lambda: T.RandAugment(fill=-1), "RandAugment: fill is -1; expected a grey level"),
    ],
)
def test_a_wrong_setting_says_what_was_expected(make, message):
    with pytest.raises(SpecError, match=message):
        make()


def test_normalize_refuses_images_that_differ_in_size_and_wrong_channels():
    schema = decoded([cut(0, 4, 4)]).schema
    with pytest.raises(SchemaError, match=r"differ in size; put a transform before that gives them one \(CenterCrop"):
        T.NormalizeImage().output_schema(schema)
    grey = decoded([cut(0, 4, 4)[:, :, :1]]).schema
    with pytest.raises(SchemaError, match="images are grey; give mean="):
        T.NormalizeImage().output_schema(T.CenterCrop(2).output_schema(grey))
    with pytest.raises(SchemaError, match="mean has 3 numbers; the images have 1 channels"):
        T.NormalizeImage((1, 1, 1), (1, 1, 1)).output_schema(T.CenterCrop(2).output_schema(grey))


def test_normalize_is_the_documented_formula():
    image = cut(0, 20, 20)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    (found,) = run([T.CenterCrop(20), T.NormalizeImage()], [image])
    assert found.dtype == np.float32 and np.abs(found - (image / 255 - mean) / std).max() < 1e-6


@pytest.mark.parametrize(
    "spec",
    [
        T.DecodeImage(mode="L"),
        T.Resize((3, 4)),
        T.RandomResizedCrop(5, ratio=[0.5, 2]),
        T.RandomCrop(8, padding=2),
        T.NormalizeImage([0.5], [0.2]),
        T.ColorJitter(0.4, hue=0.1),
        T.GaussianBlur(3, [0.1, 1]),
        T.RandomErasing(value=[1, 2, 3]),
        T.RandomRotation(7),
        T.RandAugment(),
        T.MixUp(10),
        T.CutMix(10),
    ],
)
def test_a_spec_survives_json(spec):
    import json

    assert catalog.from_json(json.loads(json.dumps(catalog.to_json(spec)))) == spec
