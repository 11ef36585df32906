"""Matrix to score: detector kinds, threshold and the bundle they ship in."""
