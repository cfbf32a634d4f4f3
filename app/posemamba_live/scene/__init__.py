"""From body heights to metres: camera, floor, filters."""
