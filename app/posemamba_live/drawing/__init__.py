"""Pictures of poses: colours, the overlay on the camera picture, the 3D figure."""
