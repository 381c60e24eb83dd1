"""Whether an answer holds: claims against geometry, second looks, calibrated confidence."""
