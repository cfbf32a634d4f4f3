"""The `.task` bundle that MediaPipe's Tasks API wants, made from what its wheel carries.

The wheel holds the two networks of the Pose Landmarker, but without the metadata that says
how a picture is normalised, and not bundled. Both are added here, once, into the cache.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
import zipfile
from importlib import metadata
from io import BytesIO
from pathlib import Path
from typing import Final

import platformdirs

from posemamba_live.errors import DetectorError

logger = logging.getLogger(__name__)

CACHE_VARIABLE: Final = "POSEMAMBA_CACHE"
"""Environment variable that names another cache directory."""

_MODELS: Final = {
    # name in the bundle: (file in the wheel, mean, std); a pixel goes in as (value - mean) / std
    "pose_detector.tflite": ("pose_detection/pose_detection.tflite", 127.5, 127.5),
    "pose_landmarks_detector.tflite": ("pose_landmark/pose_landmark_full.tflite", 0.0, 255.0),
}


def cache_dir() -> Path:
    """Where this user's caches live; not necessarily there yet."""
    if override := os.environ.get(CACHE_VARIABLE):
        return Path(override).expanduser()
    return platformdirs.user_cache_path("posemamba-live", appauthor=False, opinion=False)


def bundle_path() -> Path:
    """Cached bundle of the installed MediaPipe version."""
    return cache_dir() / f"pose_landmarker_full-mediapipe-{metadata.version('mediapipe')}.task"


def load_bundle() -> bytes:
    """Return the bundle, from the cache or newly made.

    A missing or damaged cache is mended; one that cannot be written to costs time only.

    Raises:
        DetectorError: the installed MediaPipe lacks the networks.
    """
    path = bundle_path()
    try:
        bundle = path.read_bytes()
    except OSError:
        logger.info("First run: building the pose landmarker bundle in %s", path.parent)
    else:
        if is_bundle(bundle):
            return bundle
        logger.info("The cached %s is damaged: building it again", path.name)

    start = time.monotonic()
    bundle = build_bundle()
    try:
        _write_atomically(path, bundle)
    except OSError as error:
        logger.warning("Cannot keep the detector bundle in %s: %s", path.parent, error)
    logger.info("Built %s in %.1f s", path.name, time.monotonic() - start)
    return bundle


def is_bundle(content: bytes) -> bool:
    """Tell whether these bytes are an undamaged bundle of a detector and a landmark network."""
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            return set(_MODELS) <= set(archive.namelist()) and archive.testzip() is None
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError, ValueError):
        return False


def build_bundle() -> bytes:
    """Make the bundle from MediaPipe's own networks with MediaPipe's own metadata writer.

    Raises:
        DetectorError: the networks or the writer are missing.
    """
    try:
        import mediapipe
        from mediapipe.tasks.python.metadata.metadata_writers import (
            metadata_writer,
            model_asset_bundle_utils,
        )

        modules = Path(mediapipe.__file__).parent / "modules"
        models = {}
        for name, (file, mean, std) in _MODELS.items():
            writer = metadata_writer.MetadataWriter.create(bytearray((modules / file).read_bytes()))
            writer.add_general_info(Path(file).stem)
            writer.add_image_input([mean], [std])
            models[name] = bytes(writer.populate()[0])
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "bundle.task"
            model_asset_bundle_utils.create_model_asset_bundle(models, str(path))
            return path.read_bytes()
    except FileNotFoundError as error:
        raise DetectorError(
            f"MediaPipe {metadata.version('mediapipe')} carries no models",
            why="0.10.21 is the last version that does",
            hint="give the Pose Landmarker's .task file with --detector-model, or take "
            "--detector blazepose, which has the same networks",
        ) from error
    except (ImportError, OSError, ValueError) as error:
        raise DetectorError(
            "Cannot build MediaPipe's pose landmarker",
            why=str(error),
            hint="pip install --force-reinstall mediapipe==0.10.21, "
            "or give a .task file with --detector-model",
        ) from error


def _write_atomically(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(name, path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
