"""What a model is shown, and its replies as boxes in the picture's pixels: scanning, repairs, borders, scales."""
