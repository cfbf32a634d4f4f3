"""The Open3D window, its keys and its head-up display."""
