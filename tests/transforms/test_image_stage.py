from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest
from support.photographs import cut, encoded, jpegs

from forebay import transforms as T
from forebay.engine.gather import Gatherer
from forebay.formats.errors import BadRows, SchemaError
from forebay.transforms.fuse_image import fuse
from forebay.transforms.stage import ColumnRows, GatherStage, InPlaceStage, SlotStage
from forebay.transforms.transform import Rows

N = 12
SCHEMA = pa.schema([("image", pa.binary()), ("label", pa.int64())])
ROWS = Rows(np.arange(N, dtype=np.uint64) + (np.uint64(5) << np.uint64(32)), seed=11, epoch=2)
CHAINS = {
    "imagenet": [T.DecodeImage(), T.RandomResizedCrop(64), T.HorizontalFlip(), T.NormalizeImage()],
    "evaluation": [T.DecodeImage(reduce=False), T.Resize(80), T.CenterCrop(64), T.NormalizeImage()],
    "padded": [T.DecodeImage(), T.RandomCrop((64, 72), padding=300, fill=9), T.VerticalFlip(), T.NormalizeImage()],
    "mirrored first": [
        T.DecodeImage(),
        T.HorizontalFlip(),
        T.Resize((70, 70)),
        T.RandomCrop(64, padding=4),
        T.RandomResizedCrop(48, antialias=False),
        T.NormalizeImage(dtype="float16", layout="HWC"),
    ],
    "colours": [
        T.DecodeImage(),
        T.RandomResizedCrop(64),
        T.ColorJitter(0.4, contrast=0.4, saturation=0.4, hue=0.1),
        T.RandomGrayscale(0.3),
        T.HorizontalFlip(),
        T.GaussianBlur(5),
        T.RandomErasing(0.7, value=(124, 116, 104)),
        T.NormalizeImage(dtype="bfloat16"),
    ],
    "turned": [
        T.DecodeImage(),
        T.RandomRotation(30),
        T.RandAugment(),
        T.CenterCrop(64),
        T.NormalizeImage(dtype="uint8"),
    ],
    "grey": [T.DecodeImage(mode="L"), T.RandomResizedCrop(64), T.NormalizeImage((0.5,), (0.2,))],
    "pixels": [T.DecodeImage(), T.RandomResizedCrop(64, interpolation="bicubic"), T.HorizontalFlip()],
}


def files():
    return pa.record_batch([pa.array(jpegs(N), pa.binary()), pa.array(range(N))], schema=SCHEMA)


def stage_of(chain, schema=SCHEMA, first=0):
    return fuse(chain, schema, [None] * len(chain), range(first, first + len(chain)))


def tensor(batch):
    column = batch["image"]
    return column.to_numpy_ndarray()


def one_by_one(chain, batch, rows=ROWS):
    for op, one in enumerate(chain):
        batch = one.bind(batch.schema, None, op)(batch, rows)
    return batch


def into(stage, batch, rows, take=None):
    spec = stage.tensors()["image"]
    out = np.full((len(rows.ids), *spec.shape), 77, spec.dtype)
    stage.run_into(batch, rows, take, {"image": out})
    return out


@pytest.mark.parametrize("name", CHAINS)
def test_a_fused_chain_equals_its_transforms_one_by_one_to_the_last_bit(name):
    chain, batch = CHAINS[name], files()
    exact = [T.DecodeImage(mode=chain[0].mode, reduce=False), *chain[1:]]
    fused = stage_of(exact).run(batch, ROWS)
    separate = one_by_one(exact, batch)
    assert fused.schema == separate.schema and fused.schema.names == SCHEMA.names
    assert np.array_equal(tensor(fused), tensor(separate))
    assert fused["label"] == batch["label"]


@pytest.mark.parametrize("name", CHAINS)
def test_run_into_equals_run_to_the_last_bit_for_any_rows_in_any_order(name):
    stage, batch = stage_of(CHAINS[name]), files()
    assert isinstance(stage, SlotStage)
    whole = tensor(stage.run(batch, ROWS))
    assert np.array_equal(into(stage, batch, ROWS), whole)
    take = np.array([7, 0, 7, 11, 3])
    picked = Rows(ROWS.ids[take], ROWS.seed, ROWS.epoch)
    assert np.array_equal(into(stage, batch, picked, take), whole[take])


@pytest.mark.parametrize("name", ["imagenet", "colours"])
def test_a_sample_looks_the_same_in_any_batch_and_on_any_thread(name):
    stage, batch = stage_of(CHAINS[name]), files()
    whole = into(stage, batch, ROWS)
    out = np.zeros_like(whole)

    def work(part):
        take = np.array(part)
        rows = Rows(ROWS.ids[take], ROWS.seed, ROWS.epoch)
        stage.run_into(batch, rows, take, {"image": out[part[0] : part[-1] + 1]})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, [[0, 1, 2], [3], [4, 5, 6, 7, 8], [9, 10], [11]] * 3))
    assert np.array_equal(out, whole)
    later = into(stage, batch, Rows(ROWS.ids, ROWS.seed, ROWS.epoch + 1))
    assert not any(np.array_equal(one, other) for one, other in zip(later, whole, strict=True))


@pytest.mark.parametrize("sized", [False, True])
@pytest.mark.parametrize("layout", ["CHW", "HWC"])
def test_images_taken_by_address_equal_those_of_a_batch(sized, layout):
    front = [T.DecodeImage(), T.Resize(80), *([T.CenterCrop(76)] if sized else [])]
    kept = stage_of(front).run(files(), ROWS)
    batches = [kept.slice(0, 5), kept.slice(5)]
    gatherer = Gatherer(kept.schema)
    slots = np.array([gatherer.add(one) for one in batches])
    order = np.random.default_rng(0).permutation(N)
    found = gatherer.located("image", slots[(order >= 5).astype(int)], np.where(order >= 5, order - 5, order))
    picked = Rows(ROWS.ids[order], ROWS.seed, ROWS.epoch)
    for back in (
        [T.RandomCrop(64), T.HorizontalFlip(), T.NormalizeImage(layout=layout)],
        [T.RandomResizedCrop(48), T.RandomGrayscale(0.5), T.NormalizeImage(layout=layout)],
    ):
        stage = stage_of(back, kept.schema, len(front))
        assert isinstance(stage, GatherStage) and stage.by_address
        wanted = into(stage, kept, picked, order)
        out = np.empty_like(wanted)
        stage.gathering({"image": found}, picked)({"image": out}, 0, N, 0)
        assert np.array_equal(out, wanted)


def test_files_decoded_where_they_lie_equal_those_of_a_batch():
    batch, told = files(), []
    gatherer = Gatherer(batch.schema, copied=told.append)
    slots = np.array([gatherer.add(one) for one in (batch.slice(0, 5), batch.slice(5))])
    order = np.random.default_rng(0).permutation(N)
    found = gatherer.located("image", slots[(order >= 5).astype(int)], np.where(order >= 5, order - 5, order))
    picked = Rows(ROWS.ids[order], ROWS.seed, ROWS.epoch)
    stage = stage_of(CHAINS["imagenet"])
    assert isinstance(stage, InPlaceStage) and stage.in_place
    wanted = into(stage, batch, picked, order)
    out = np.empty_like(wanted)
    write = stage.gathering({"image": found}, picked)
    for first, stop in ((0, 3), (3, N)):
        write({"image": out}, first, stop, first)
    assert np.array_equal(out, wanted)
    nbytes = [len(one.as_py()) for one in batch["image"]]
    assert told == [sum(nbytes), *(nbytes[at] for at in order)]  # once for all headers, then for each image


def test_encoded_images_are_not_taken_by_address_and_odd_ones_are_bad():
    assert not stage_of(CHAINS["imagenet"]).by_address
    kept = stage_of([T.DecodeImage(), T.Resize(80)]).run(files(), ROWS)
    stage = stage_of([T.RandomCrop(64), T.NormalizeImage()], kept.schema, 2)
    gatherer = Gatherer(kept.schema)
    gatherer.add(kept)
    found = gatherer.located("image", np.zeros(N, np.int64), np.arange(N))
    height = found.values["height"].copy()
    height[3] += 1
    found = ColumnRows(found.addresses, found.lengths, {**found.values, "height": height})
    with pytest.raises(BadRows, match="another number of bytes") as error:
        stage.gathering({"image": found}, ROWS)
    assert list(error.value.rows) == [3]


def test_reduced_decoding_is_near_exact_decoding():
    batch = pa.record_batch(
        [pa.array([encoded(cut(at, 400, 600), quality=95) for at in range(8)], pa.binary())], ["image"]
    )
    rows = Rows(ROWS.ids[:8], 1, 0)
    chain = [T.Resize(64), T.CenterCrop(64), T.NormalizeImage(dtype="uint8")]
    near = tensor(stage_of([T.DecodeImage(), *chain], batch.schema).run(batch, rows)).astype(int)
    exact = tensor(stage_of([T.DecodeImage(reduce=False), *chain], batch.schema).run(batch, rows)).astype(int)
    away = np.abs(near - exact)
    assert 0 < away.mean() < 2.5


def test_a_cache_may_stand_between_resize_and_crop():
    batch = files()
    front, back = (
        [T.DecodeImage(reduce=False), T.Resize(80)],
        [T.RandomCrop(64), T.HorizontalFlip(), T.NormalizeImage()],
    )
    kept = stage_of(front).run(batch, ROWS)
    assert kept.schema.field("image").type.names == ["pixels", "height", "width", "channels"]
    sizes = set(zip(kept["image"].field("height").to_pylist(), kept["image"].field("width").to_pylist(), strict=True))
    assert sizes == {(80, 106), (106, 80)}
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, kept.schema) as writer:
        writer.write_batch(kept)
    read = pa.ipc.open_file(sink.getvalue()).get_batch(0)
    after = stage_of(back, read.schema, first=2)
    whole = into(stage_of([*front, *back]), batch, ROWS)
    assert np.array_equal(into(after, read, ROWS), whole)
    take = np.array([9, 2, 2])
    picked = Rows(ROWS.ids[take], ROWS.seed, ROWS.epoch)
    assert np.array_equal(into(after, read, picked, take), whole[take])


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_sliced_columns_are_read_where_they_begin(depth):
    chain = [T.DecodeImage(), T.RandomResizedCrop((60, 62)), T.RandomCrop(48), T.NormalizeImage()]
    batch = files()
    for op, one in enumerate(chain[:depth]):
        batch = one.bind(batch.schema, None, op)(batch, ROWS)
    rest = stage_of(chain[depth:], batch.schema, first=depth)
    whole = into(rest, batch, ROWS)
    part, rows = batch.slice(3, 6), Rows(ROWS.ids[3:9], ROWS.seed, ROWS.epoch)
    assert np.array_equal(into(rest, part, rows), whole[3:9])
    assert np.array_equal(tensor(rest.run(part, rows)), whole[3:9])
    take = np.array([5, 0])
    assert np.array_equal(into(rest, part, Rows(rows.ids[take], 11, 2), take), whole[[8, 3]])


def test_the_training_batch_may_be_strided_in_its_first_axis():
    stage, batch = stage_of(CHAINS["imagenet"]), files()
    wide = np.zeros((N, 5, 64, 64), np.float32)
    stage.run_into(batch, ROWS, None, {"image": wide[:, 1:4]})
    assert np.array_equal(wide[:, 1:4], into(stage, batch, ROWS))
    assert not wide[:, 0].any() and not wide[:, 4].any()


def test_two_image_columns_are_one_stage():
    pairs = pa.record_batch([pa.array(jpegs(N), pa.binary()), pa.array(jpegs(N)[::-1], pa.large_binary())], ["a", "b"])
    chain = [one for name in "ab" for one in (T.DecodeImage(name), T.CenterCrop(50, column=name))]
    found = stage_of(chain, pairs.schema).run(pairs, ROWS)
    assert np.array_equal(found["a"].to_numpy_ndarray(), found["b"].to_numpy_ndarray()[::-1])


def test_an_empty_batch_stays_empty():
    empty = files().slice(0, 0)
    rows = Rows(ROWS.ids[:0], 1, 0)
    for chain in CHAINS.values():
        assert stage_of(chain).run(empty, rows).num_rows == 0
        assert into(stage_of(chain), empty, rows).shape[0] == 0
    assert stage_of([T.DecodeImage(), T.Resize(8)]).run(empty, rows).num_rows == 0


def test_bad_rows_are_named_as_positions_of_the_output():
    batch = files()
    column = batch["image"].to_pylist()
    column[3], column[8] = b"no image", b"nor this"
    batch = pa.record_batch([pa.array(column, pa.binary()), batch["label"]], schema=SCHEMA)
    stage = stage_of(CHAINS["imagenet"])
    with pytest.raises(BadRows, match="not an image that Pillow can identify in column 'image'") as caught:
        stage.run(batch, ROWS)
    assert caught.value.rows == [3, 8] and caught.value.column == "image"
    take = np.array([8, 1, 2, 3])
    with pytest.raises(BadRows) as caught:
        into(stage, batch, Rows(ROWS.ids[take], 11, 2), take)
    assert caught.value.rows == [0, 3]


def test_a_wrong_array_take_or_column_is_refused():
    stage, batch = stage_of(CHAINS["imagenet"]), files()
    with pytest.raises(SchemaError, match=r"float64\[12, 3, 64, 64\]; expected float32\[12, 3, 64, 64\]"):
        stage.run_into(batch, ROWS, None, {"image": np.zeros((N, 3, 64, 64))})
    with pytest.raises(SchemaError, match="strided in its first axis only"):
        stage.run_into(batch, ROWS, None, {"image": np.zeros((N, 3, 64, 128), np.float32)[..., ::2]})
    with pytest.raises(IndexError, match="rows 0 to 11"):
        stage.run_into(batch, ROWS, np.full(N, 12), {"image": np.zeros((N, 3, 64, 64), np.float32)})
    with pytest.raises(SchemaError, match="column 'image' is missing; expected binary, as planned"):
        stage.run(batch.select(["label"]), ROWS)
