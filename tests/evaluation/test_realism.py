"""Distances against closed forms, and that each measure sees what it is for."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage, stats
from scipy.linalg import sqrtm

from cxredit_cli.errors import InputError
from cxredit_cli.evaluation.realism import RealImages, Realism, measure_realism
from cxredit_cli.metrics.feature_distances import frechet_distance, kernel_distance, precision_recall
from cxredit_cli.metrics.feature_extractors import (
    anatomy_extractor,
    feature_vectors,
    inception_extractor,
    load_inception,
)
from cxredit_cli.metrics.ms_ssim import ms_ssim, pair_similarities
from cxredit_cli.metrics.psnr_ssim import ssim
from cxredit_cli.metrics.sliced_wasserstein import laplacian_pyramid, random_patches, sliced_wasserstein
from cxredit_cli.storage.anatomy_network import load_anatomy


def exact(mean: np.ndarray, covariance: np.ndarray, n: int = 400) -> np.ndarray:
    """Vectors [n, d] whose sample mean and covariance are exactly these."""
    raw = np.random.default_rng(n).standard_normal((n, len(mean)))
    raw -= raw.mean(0)
    white = raw @ np.linalg.inv(np.linalg.cholesky(np.cov(raw.T))).T
    return white @ np.linalg.cholesky(covariance).T + mean


class TestFrechet:
    def test_two_gaussians_with_diagonal_covariances(self) -> None:
        a = exact(np.array([0.0, 0, 0]), np.diag([1.0, 4, 9]))
        b = exact(np.array([1.0, 2, 0]), np.diag([4.0, 4, 1]), n=300)
        # |m|^2 + sum (s - t)^2 of the standard deviations
        assert frechet_distance(a, b) == pytest.approx(5 + 1 + 0 + 4)
        assert frechet_distance(b, a) == pytest.approx(10)

    def test_it_is_the_formula_with_the_root_of_a_matrix(self) -> None:
        random = np.random.default_rng(0)
        x, y = random.standard_normal((50, 6)) @ random.standard_normal((6, 6)), random.standard_normal((70, 6)) + 1
        cx, cy = np.cov(x.T), np.cov(y.T)
        expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(cx + cy - 2 * sqrtm(cx @ cy).real)
        assert frechet_distance(x, y) == pytest.approx(expected)

    def test_fewer_vectors_than_dimensions(self) -> None:
        """In the plane of the first axis alone it is the distance of two one-dimensional Gaussians."""
        x, y = np.zeros((4, 50)), np.zeros((5, 50))
        x[:, 0], y[:, 0] = [0, 1, 2, 3], [5, 5, 5, 5, 10]
        expected = (1.5 - 6) ** 2 + (x[:, 0].std(ddof=1) - y[:, 0].std(ddof=1)) ** 2
        assert frechet_distance(x, y) == pytest.approx(expected)

    @settings(max_examples=20, deadline=None)
    @given(st.integers(2, 30), st.integers(1, 20), st.integers(0, 1000))
    def test_a_set_is_at_no_distance_from_itself_and_a_shift_adds_its_square(self, n: int, d: int, seed: int) -> None:
        x = np.random.default_rng(seed).standard_normal((n, d))
        assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
        assert frechet_distance(x, x[::-1] + 2) == pytest.approx(4 * d)

    def test_small_sets_of_one_distribution_are_apart(self) -> None:
        random = np.random.default_rng(0)
        small, large = (frechet_distance(*random.standard_normal((2, n, 30))) for n in (50, 2000))
        assert small > 10 * large > 0


class TestKernel:
    def test_by_hand(self) -> None:
        x, y = np.array([[0.0], [1], [2], [0]]), np.array([[1.0], [1], [1], [1]])
        k = (x @ x.T + 1) ** 3
        within = (k.sum() - np.trace(k)) / 12
        assert kernel_distance(x, y).value == pytest.approx(within + 8 - 2 * np.mean([1, 8, 27, 1]))

    def test_one_distribution_is_at_zero_on_average_whatever_the_size(self) -> None:
        random = np.random.default_rng(0)
        for n in (10, 100):
            values = [kernel_distance(*random.standard_normal((2, n, 5))).value for _ in range(100)]
            assert abs(np.mean(values)) < 4 * np.std(values) / 100**0.5
            assert min(values) < 0

    def test_the_spread_tells_a_difference_from_chance(self) -> None:
        random = np.random.default_rng(1)
        x, y = random.standard_normal((2, 200, 8))
        same, apart = kernel_distance(x, y), kernel_distance(x, y + 0.5)
        assert abs(same.value) < 3 * same.spread
        assert apart.value > 3 * apart.spread
        assert kernel_distance(x, y) == same


class TestPrecisionRecall:
    def test_disjoint_and_identical_sets(self) -> None:
        random = np.random.default_rng(0)
        x = random.standard_normal((60, 4))
        apart = precision_recall(x, x + 100)
        same = precision_recall(x, x.copy())
        assert (apart.precision, apart.recall) == (0, 0)
        assert (same.precision, same.recall) == (1, 1)

    def test_a_set_that_leaves_half_out_is_precise_and_has_half_the_recall(self) -> None:
        random = np.random.default_rng(0)
        modes = random.standard_normal((2, 80, 3))
        modes[1] += 50
        found = precision_recall(np.concatenate(modes), np.tile(modes[0], (2, 1)) + random.normal(0, 0.05, (160, 3)))
        assert found.precision > 0.95
        assert 0.4 < found.recall <= 0.5

    def test_the_radius_is_that_of_the_third_neighbour(self) -> None:
        real = np.array([[0.0], [1], [2], [3]])  # radii 3, 2, 2, 3
        assert precision_recall(real, np.array([[5.9], [6.1], [-2.9], [-3.1]])).precision == 0.5

    def test_too_few_vectors_are_refused(self) -> None:
        with pytest.raises(InputError, match="at least 4"):
            precision_recall(np.zeros((3, 2)), np.zeros((9, 2)))
        with pytest.raises(InputError, match="one length"):
            frechet_distance(np.zeros((9, 2)), np.zeros((9, 3)))


class TestTexture:
    def test_a_shift_in_one_dimension(self) -> None:
        x = np.random.default_rng(0).standard_normal((10, 8, 1)).astype(np.float32)
        x /= x.std()
        rows = np.arange(10)
        distances = sliced_wasserstein([x, x + 0.7], [((0, rows), (1, rows)), ((0, rows), (0, rows[::-1]))], seed=0)
        assert distances == pytest.approx([0.7, 0], abs=1e-5)

    def test_it_is_scipys_distance_on_each_direction(self) -> None:
        random = np.random.default_rng(0)
        x, y = random.standard_normal((6, 5, 1)).astype(np.float32), random.gamma(2, 1, (6, 5, 1)).astype(np.float32)
        rows = np.arange(6)
        expected = stats.wasserstein_distance(x.ravel(), y.ravel()) / x.std()
        assert sliced_wasserstein([x, y], [((0, rows), (1, rows))], 0) == pytest.approx([expected], rel=1e-4)

    def test_the_mean_over_directions(self) -> None:
        """For a shift s it is the mean of |s.u| over unit vectors u: 2 |s| / pi in the plane."""
        x = np.random.default_rng(0).standard_normal((50, 20, 2)).astype(np.float32)
        x /= x.std()
        rows = np.arange(50)
        (found,) = sliced_wasserstein([x, x + np.float32([3, 0])], [((0, rows), (1, rows))], seed=1)
        assert found == pytest.approx(6 / np.pi, rel=0.15)

    def test_the_pyramid_sums_to_the_image(self) -> None:
        images = torch.rand(2, 1, 64, 64)
        levels = laplacian_pyramid(images)
        assert [level.shape[-1] for level in levels] == [64, 32, 16]
        from cxredit_cli.metrics.sliced_wasserstein import _upsample

        total = levels[-1]
        for level in reversed(levels[:-1]):
            total = _upsample(total) + level
        assert torch.allclose(total, images, atol=1e-5)
        flat = laplacian_pyramid(torch.full((1, 1, 32, 32), 0.3))
        assert flat[0].abs().max() < 1e-6

    def test_patches_are_of_the_image(self) -> None:
        image = np.random.default_rng(0).integers(0, 256, (3, 16, 16)).astype(np.uint8)  # one scale: the image itself
        (patches,) = random_patches(image, seed=0)
        assert patches.values.shape == (3, 128, 49)
        windows = np.lib.stride_tricks.sliding_window_view(image[1], (7, 7)).reshape(-1, 49)
        levels = np.rint(patches.values[1] * 255)
        assert all((windows == patch).all(1).any() for patch in levels)


class TestDiversity:
    def test_one_scale_is_ssim(self) -> None:
        x, y = torch.rand(2, 3, 1, 16, 16)
        assert torch.allclose(ms_ssim(x, y, 1.0), ssim(x, y, 1.0).clamp(min=0), atol=1e-5)

    def test_equal_and_ever_less_equal_images(self) -> None:
        x = ndimage.gaussian_filter(np.random.default_rng(0).random((1, 128, 128)), (0, 4, 4))
        images = torch.from_numpy((x - x.min()) / np.ptp(x)).float()[:, None]
        noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
        values = [float(ms_ssim(images, images + level * noise, 1.0)) for level in (0, 0.05, 0.2)]
        assert values[0] == pytest.approx(1, abs=1e-5)
        assert 1 > values[1] > values[2] > 0

    def test_pairs_are_of_two_patients(self) -> None:
        images = np.stack([np.full((16, 16), grey, np.uint8) for grey in (0, 0, 255, 255)])
        values = pair_similarities(images, ["a", "a", "b", "b"], seed=0)
        assert len(values) >= 2
        assert (values < 0.1).all()


@pytest.fixture(scope="module")
def radiographs(data: Path) -> np.ndarray:
    """24 crops [24, 64, 64] of real chest X-rays: twelve images, at two places each."""
    paths = sorted((data / "nih").glob("*.png"))
    images = np.stack([np.asarray(Image.open(path).convert("L").resize((72, 72))) for path in paths])
    return np.concatenate([images[:, y : y + 64, x : x + 64] for y, x in ((0, 0), (8, 8))])


@pytest.fixture(scope="module")
def compare(radiographs: np.ndarray):
    extractors = {"anatomy": anatomy_extractor(load_anatomy())}
    patients = [str(number % 12) for number in range(24)]

    def measured(generated: np.ndarray, others: np.ndarray | None = None) -> Realism:
        return measure_realism(RealImages(radiographs, patients, others, "val"), generated, extractors)

    return measured


def generated(found: Realism) -> dict[str, float]:
    return {figure.name: figure.generated.mean for figure in found.figures}


def test_each_figure_worsens_where_it_should(compare, radiographs: np.ndarray) -> None:
    noise = np.random.default_rng(0).normal(0, 12, radiographs.shape)
    noisy = np.clip(radiographs + noise, 0, 255).astype(np.uint8)
    blurred = ndimage.gaussian_filter(radiographs, (0, 1.5, 1.5))
    poor = np.tile(radiographs[:4], (6, 1, 1))
    same = compare(radiographs.copy())
    floor = {figure.name: figure.floor.mean for figure in same.figures}
    best, noise_added, blur, few = (generated(same), *(generated(compare(x)) for x in (noisy, blurred, poor)))

    # The real images themselves: as far away as the other half, or nearer, as the random halves share images.
    assert best["frechet_distance"] < 1.3 * floor["frechet_distance"]
    assert best["ms_ssim"] == pytest.approx(floor["ms_ssim"], abs=0.1)
    for worse in (noise_added, blur):
        assert worse["frechet_distance"] > best["frechet_distance"]
        assert worse["sliced_wasserstein_64"] > 2 * best["sliced_wasserstein_64"]
    assert few["recall"] < 0.5 * best["recall"]
    assert few["ms_ssim"] > best["ms_ssim"] + 0.1
    assert few["frechet_distance"] > 1.5 * best["frechet_distance"]


def test_figures_of_other_patients_and_the_ratio(compare, radiographs: np.ndarray) -> None:
    found = compare(radiographs[::-1], others=radiographs[:, :, ::-1])
    assert (found.images, found.half, found.patients) == (24, 12, 12)
    names = [figure.name for figure in found.figures]
    scales = [f"sliced_wasserstein_{side}" for side in (64, 32, 16)]
    assert names == [
        *("frechet_distance", "kernel_distance", "precision", "recall", "sliced_wasserstein", *scales, "ms_ssim")
    ]
    for figure in found.figures:
        assert figure.others is not None
        if figure.name != "kernel_distance":
            assert figure.ratio == pytest.approx(figure.generated.mean / figure.floor.mean)
    kernel = found.figures[names.index("kernel_distance")]
    assert kernel.ratio is None
    mirrored = found.figures[0]
    assert mirrored.others is not None
    assert mirrored.others.mean > mirrored.generated.mean  # hearts on the right
    assert any("12 images" in note and "192 dimensions" in note for note in found.notes)


def test_the_same_seed_gives_the_same_figures(compare, radiographs: np.ndarray) -> None:
    assert generated(compare(radiographs[::-1])) == generated(compare(radiographs[::-1]))
    with pytest.raises(InputError, match="As many generated images"):
        compare(radiographs[:10])


def test_anatomy_features_do_not_depend_on_contrast_or_batch(radiographs: np.ndarray) -> None:
    extract = anatomy_extractor(load_anatomy())
    one = feature_vectors(extract, radiographs[:5], batch=2)
    assert one.shape == (5, 192)
    assert feature_vectors(extract, radiographs[:5], batch=5) == pytest.approx(one, abs=1e-5)
    darker = np.rint(radiographs[:5] * 0.8).astype(np.uint8)
    assert feature_vectors(extract, darker) == pytest.approx(one, abs=0.05)


def test_inception_from_a_file(tmp_path: Path, radiographs: np.ndarray) -> None:
    from torchvision.models import inception_v3

    path = tmp_path / "inception.pth"
    torch.save(inception_v3(weights=None, init_weights=False).state_dict(), path)
    vectors = feature_vectors(inception_extractor(load_inception(path)), radiographs[:2])
    assert vectors.shape == (2, 2048)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="does not hold torchvision's Inception"):
        load_inception(path)
