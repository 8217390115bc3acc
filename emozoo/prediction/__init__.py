"""From photos and videos to predictions: finding faces, following them, and what is said of each."""
