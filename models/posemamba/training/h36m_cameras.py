"""Calibration of Human3.6M's four cameras, as published with the data set.

World to camera: x_cam = R(q)^T (x_world - t), with the unit quaternion q = (w, x, y, z) that
turns camera axes into world axes, and t the camera's place in millimetres.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

IMAGE_SIZES: Final = ((1000, 1002), (1000, 1000), (1000, 1000), (1000, 1002))
"""W, H of cameras 54138969, 55011271, 58860488, 60457274."""
IDS: Final = ("54138969", "55011271", "58860488", "60457274")
FOCAL: Final = (1145.05, 1149.68, 1149.14, 1145.51)
"""Pixels."""

_Pose = tuple[tuple[float, float, float, float], tuple[float, float, float]]
EXTRINSICS: Final[dict[str, tuple[_Pose, _Pose, _Pose, _Pose]]] = {
    "S9": (
        (
            (0.15540587902069092, -0.15548215806484222, -0.7532095313072205, 0.6199594736099243),
            (2044.45849609375, 4935.1171875, 1481.2275390625),
        ),
        (
            (0.618784487247467, -0.7634735107421875, -0.14132238924503326, 0.11933968216180801),
            (1990.959716796875, -5123.810546875, 1568.8048095703125),
        ),
        (
            (0.13357827067375183, -0.1367100477218628, 0.7689454555511475, -0.6100738644599915),
            (-1670.9921875, 5211.98583984375, 1528.387939453125),
        ),
        (
            (0.5879399180412292, -0.7823407053947449, 0.1427614390850067, -0.14794869720935822),
            (-1696.04345703125, -3827.099853515625, 1591.4127197265625),
        ),
    ),
    "S11": (
        (
            (0.15232472121715546, -0.15442320704460144, -0.7547563314437866, 0.6191070079803467),
            (2098.440185546875, 4926.5546875, 1500.278564453125),
        ),
        (
            (0.6189449429512024, -0.7600917220115662, -0.15300633013248444, 0.1255258321762085),
            (2083.182373046875, -4912.1728515625, 1561.07861328125),
        ),
        (
            (0.14943228662014008, -0.15650227665901184, 0.7681233882904053, -0.6026304364204407),
            (-1609.8153076171875, 5177.3359375, 1537.896728515625),
        ),
        (
            (0.5894251465797424, -0.7818877100944519, 0.13991211354732513, -0.14715361595153809),
            (-1590.738037109375, -3854.1689453125, 1578.017578125),
        ),
    ),
}
"""Of the two test subjects."""


def to_camera(points: NDArray[np.floating[Any]], subject: str, camera: int) -> NDArray[np.float64]:
    """(..., 3) world millimetres to camera millimetres."""
    (w, x, y, z), place = EXTRINSICS[subject][camera]
    to_world = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    return np.asarray((points - np.array(place)) @ to_world)
