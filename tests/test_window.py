"""Windows over time: breaks, interpolation, resampling and blending."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.interpolate import interp1d

from posemamba.blending import Blender, blend_weights
from posemamba_live.keypoints import breaks_track, interpolate
from posemamba_live.lifting.blending import resample, stack
from tests.conftest import MakeTrack


def test_tracks_break_at_long_gaps_other_people_and_other_sizes(make_track: MakeTrack) -> None:
    a, *_, b = make_track(8)  # 7/30 s apart
    assert not breaks_track(a, b)
    late = dataclasses.replace(b, timestamp=0.26)
    assert breaks_track(a, late)
    assert breaks_track(a, dataclasses.replace(b, person_id=1))
    assert breaks_track(a, dataclasses.replace(b, image_size=(360, 640)))
    assert breaks_track(b, a), "time never runs backwards within a window"


def test_interpolate_lies_between_and_says_so(make_track: MakeTrack) -> None:
    a, b = make_track(2)
    c = interpolate(a, b, 7, a.timestamp + 0.25 * (b.timestamp - a.timestamp), score_factor=0.5)
    np.testing.assert_allclose(c.keypoints, 0.75 * a.keypoints + 0.25 * b.keypoints, rtol=1e-5)
    np.testing.assert_allclose(c.scores, 0.45)
    assert c.predicted
    assert c.frame_index == 7


def test_resample_is_linear_and_constant_beyond_the_ends(make_track: MakeTrack) -> None:
    track = [pose for i, pose in enumerate(make_track(20)) if i % 3 != 1]  # an uneven rate
    times = np.linspace(-0.2, 1.0, 57)
    keypoints, _, peaks = stack(track)
    stamps = [pose.timestamp for pose in track]
    reference = interp1d(
        stamps, keypoints, axis=0, bounds_error=False, fill_value=(keypoints[0], keypoints[-1])
    )
    got, got_scores, got_peaks = resample(track, times)
    np.testing.assert_allclose(got_peaks, np.tile(peaks[0], (len(times), 1)), rtol=1e-6)
    np.testing.assert_allclose(got, reference(times), atol=2e-3)
    np.testing.assert_allclose(got_scores, 0.9)
    single, *_ = resample(track[:1], times[:4])
    np.testing.assert_array_equal(single, np.repeat(keypoints[:1], 4, axis=0))


@pytest.mark.parametrize("length", [1, 2, 9, 243])
def test_blend_weights_are_a_positive_symmetric_bell(length: int) -> None:
    weights = blend_weights(length)
    assert (weights > 0).all()
    np.testing.assert_allclose(weights, weights[::-1], rtol=1e-4)
    assert weights.argmax() in (length // 2, (length - 1) // 2)


def test_blender_is_the_weighted_mean_of_all_windows() -> None:
    rng = np.random.default_rng(0)
    starts, length = (0, 3, 6, 8), 6
    windows = rng.normal(size=(4, length, 17, 3)).astype(np.float32)
    total, weight, seen_to = np.zeros((14, 17, 3)), np.zeros(14), np.zeros(14)
    for start, window in zip(starts, windows, strict=True):
        for i in range(length):
            total[start + i] += float(blend_weights(length)[i]) * window[i]
            weight[start + i] += float(blend_weights(length)[i])
            seen_to[start + i] = max(seen_to[start + i], start + length - 1)
    blender = Blender()
    blender.add(0, windows[0])
    blender.add(3, windows[1])
    first, first_ahead = blender.take(6)
    blender.add(6, windows[2])
    blender.add(8, windows[3])
    rest, rest_ahead = blender.take(14)
    np.testing.assert_allclose(np.concatenate([first, rest]), total / weight[:, None, None], 1e-4)
    np.testing.assert_array_equal(np.concatenate([first_ahead, rest_ahead]), seen_to - range(14))


def test_blender_refuses_what_cannot_be_given_out() -> None:
    blender = Blender()
    blender.add(0, np.zeros((4, 17, 3), np.float32))
    with pytest.raises(ValueError, match="no window covers"):
        blender.take(5)
    blender.take(3)
    with pytest.raises(ValueError, match="already given out"):
        blender.add(2, np.zeros((4, 17, 3), np.float32))
