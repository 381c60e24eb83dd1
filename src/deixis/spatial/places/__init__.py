"""Answers in 3D: frames, free space, rooms, whereabouts, another camera."""
