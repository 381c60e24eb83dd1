"""Answers made visible: marked pictures, heat maps, glTF and the scene page."""
