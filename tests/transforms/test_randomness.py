import numpy as np
import pytest

from forebay.transforms.randomness import integers, key, normals, uniforms, words
from forebay.transforms.transform import Rows

ROWS = Rows(np.arange(20_000, dtype=np.uint64) + (np.uint64(9) << np.uint64(32)), seed=3, epoch=1)


def part(rows, index):
    return Rows(rows.ids[index], rows.seed, rows.epoch)


@pytest.mark.parametrize("draw", [uniforms, normals, lambda r, op, n: integers(r, op, n, high=1000)])
def test_a_sample_draws_the_same_in_any_batch(draw):
    whole = draw(ROWS, 4, 3)
    index = np.random.default_rng(0).permutation(len(ROWS.ids))[:500]
    assert np.array_equal(draw(part(ROWS, index), 4, 3), whole[index])


@pytest.mark.parametrize("draw", [uniforms, normals, lambda r, op, n: integers(r, op, n, high=1000)])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 7])
def test_first_draws_do_not_depend_on_how_many_are_asked(draw, n):
    assert np.array_equal(draw(ROWS, 4, n), draw(ROWS, 4, 9)[:, :n])


@pytest.mark.parametrize("change", [{"seed": 4}, {"epoch": 2}])
def test_seed_and_epoch_change_the_draws(change):
    other = Rows(ROWS.ids, **{"seed": 3, "epoch": 1, **change})
    assert not np.array_equal(uniforms(ROWS, 0, 1), uniforms(other, 0, 1))


def test_ops_and_seeds_share_no_key():
    keys = {key(seed, op) for seed in range(200) for op in range(200)}
    assert len(keys) == 200 * 200


def test_uniforms_are_uniform():
    drawn = uniforms(ROWS, 0, 4)
    assert drawn.min() >= 0 and drawn.max() < 1
    counts = np.histogram(drawn, 20, (0, 1))[0]
    expected = drawn.size / 20
    assert ((counts - expected) ** 2 / expected).sum() < 43.8  # chi-square, 19 degrees of freedom, p = 0.001


def test_normals_have_moments_of_the_standard_normal():
    drawn = normals(ROWS, 0, 5).astype(np.float64)
    assert abs(drawn.mean()) < 0.02 and abs(drawn.std() - 1) < 0.02
    assert abs((drawn**3).mean()) < 0.05 and abs((drawn**4).mean() - 3) < 0.15
    assert np.abs(np.corrcoef(drawn.T) - np.eye(5)).max() < 0.03


def test_integers_reach_every_value_and_no_other():
    drawn = integers(ROWS, 0, 3, high=10)
    assert set(np.unique(drawn)) == set(range(10))
    with pytest.raises(ValueError, match="high is 0; expected 1 to 2\\^32"):
        integers(ROWS, 0, 3, high=0)


def test_words_differ_between_samples():
    assert len(np.unique(words(ROWS, 0))) == len(ROWS.ids)
